"""Records with labels: one JSON object per line (.jsonl), or the rows of a table (.tsv, .csv).

A table is comma-separated with quotes (.csv), or tab-separated without quoting (any other ending):
the quotation marks of a .tsv are part of its texts. `Columns` says which columns are read.

Words with tags may also be in a CoNLL file (.conll), and answers in a file of SQuAD (.json).
"""

import csv
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from pretrain_jax.data import annotations
from pretrain_jax.data.sources import _places
from pretrain_jax.data.sources._base import Columns, Document, Shard
from pretrain_jax.data.text_files import TextFile
from pretrain_jax.errors import DataError, short_repr
from pretrain_jax.files import parsing

HEADERS = {
    *("text", "sentence", "sentence1", "premise", "question", "tokens"),
    *("label", "labels", "gold_label", "tags", "answers"),
}
"""Names that only a header has: a first row with one of them is not read as a record."""
FORMATS = ("jsonl", "csv", "json", "conll")
"""Endings with a format of their own; a file with any other ending is tab-separated."""
BLANK = re.compile(r"[ \t]+")


class RecordShard(Shard):
    """A file of records. A blank line is no record."""

    def __init__(self, path: str, columns: Columns):
        self.name = path
        self.file = TextFile(path)
        self.columns = columns
        ending = path.lower().removesuffix(".gz").rpartition(".")[2]
        self.format = ending if ending in FORMATS else "tsv"

    def digest(self) -> str:
        return self.columns.digest(f"{self.format} {self.file.digest()}")

    def documents(self) -> Iterator[Document]:
        format, places = self.format, self.columns.places
        with self.file.open() as file:
            if format == "jsonl":
                yield from self._objects(read_json_lines(file, self.name))
            elif (format, places) == ("json", "answers"):
                yield from self._objects(_places.read_squad(file, self.name))
            elif (format, places) == ("conll", "words"):
                for name, words, tags in read_conll(file, self.name, self.columns.required):
                    yield self._document(name, [words], tags)
            else:
                yield from self._rows(read_csv(file, self.name) if format == "csv"
                                      else read_tsv(file, self.name))  # fmt: skip

    def _objects(self, records: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[Document]:
        texts, label = self.columns.wanted
        needed = [*texts, *([label] if self.columns.required else [])]
        for name, record in records:
            if missing := [key for key in needed if key not in record]:
                raise lacks_columns(name, missing, list(record))
            values = [record[key] for key in texts]
            yield self._document(name, values, record.get(label), record.get("id"))

    def _rows(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Document]:
        places: tuple[list[int], int | None] | None = None
        width = 0
        for number, row in rows:
            name = f"{self.name} line {number}"
            if places is None:
                width = len(row)
                places, is_header = find_columns(row, self.columns, self.name)
                if is_header:
                    continue
            if len(row) != width:
                raise DataError(
                    f"every row of {self.name} must have {width} columns, as the first; line "
                    f"{number} has {len(row)}. Fix that line"
                )
            texts, label = places
            yield self._document(
                name, [row[at] for at in texts], None if label is None else row[label]
            )

    def _document(
        self, name: str, values: Sequence[Any], label: Any, identity: Any = None
    ) -> Document:
        places, wanted, texts = self.columns.places, self.columns.count, [""]
        if places == "words":
            several = [_places.read_words(name, value) for value in values]
            values, texts = [" ".join(words) for words in several], several[0]
        parts = read_texts(name, values)
        if wanted and (len(parts) > wanted or (len(parts) < wanted and not self.columns.fewer)):
            raise DataError(
                f"a record of this run has {'one text' if wanted == 1 else f'{wanted} texts'}; "
                f"{name} has {len(parts)}. Name the text columns with data.fields"
            )
        if not places:
            return make_document(name, parts, label_text(label))
        if any(map(annotations.SWITCHES.search, parts)):
            raise DataError(
                f"a text with places must have none of the noncharacters U+FDD0 to U+FDD2; {name} "
                "has one. Remove it, and count the places again"
            )
        if places == "words":
            label = _places.read_tags(name, label, len(texts))
        else:
            texts, label = parts, _places.read_answers(name, parts[1], label)
        identity = str(identity) if isinstance(identity, str | int) else None
        return make_document(name, parts, label, texts=tuple(texts), id=identity)


def read_json_lines(file: BinaryIO, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name for messages, record) of the lines that are not blank. Raises DataError."""
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        name = f"{path} line {number}"
        try:
            record = parsing.parse_json(line)
        except ValueError as error:
            raise DataError(f"{name} must be a JSON object; {error}. Fix the line") from error
        if not isinstance(record, dict):
            raise DataError(f"{name} must be a JSON object; it is {short_repr(record)}")
        yield name, record


def read_conll(
    file: BinaryIO, path: str, required: bool
) -> Iterator[tuple[str, list[str], list[str] | None]]:
    """(name for messages, words, tags) of the sentences of a CoNLL file; None for no tags.

    Each line is a word, with spaces or tabs between its columns: the word is the first, its tag the
    last. Blank lines separate sentences. Lines that begin with -DOCSTART- are skipped. Raises
    DataError, also where tags are `required` and a line has none.
    """
    rows: list[list[str]] = []
    first = 0
    for number, line in enumerate(itertools.chain(file, [b""]), start=1):
        text = decode(line, path, number).strip(" \t\r\n")
        cells = [] if text.startswith("-DOCSTART-") else BLANK.split(text) if text else []
        if required and len(cells) == 1:
            raise DataError(
                f"every line of {path} must have a word and, last, its tag; line {number} has only "
                f"{short_repr(cells[0])}. Fix the line"
            )
        if cells:
            first = first if rows else number
            rows.append(cells)
        elif rows:
            tags = None if any(len(row) == 1 for row in rows) else [row[-1] for row in rows]
            yield f"{path} line {first}", [row[0] for row in rows], tags
            rows = []


def read_tsv(file: BinaryIO, path: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of the lines of a tab-separated file that are not blank."""
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield number, decode(line, path, number).rstrip("\r\n").split("\t")


def read_csv(file: BinaryIO, path: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the last line, cells) of the rows of a comma-separated file. Raises DataError."""
    lines = (decode(line, path, number) for number, line in enumerate(file, start=1))
    reader = csv.reader(lines, strict=True)
    csv.field_size_limit(1 << 30)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(
            f"{path} line {reader.line_num} must be comma-separated, with quotes around a cell "
            f"that has commas, quotes or line ends; {error}. Fix it, or name the file .tsv if tabs "
            "separate its columns"
        ) from error


def decode(line: bytes, path: str, number: int) -> str:
    """A line as text. Raises DataError."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} line {number} must be UTF-8; {error.reason}. Convert it") from None


def find_columns(
    first: Sequence[str], columns: Columns, path: str
) -> tuple[tuple[list[int], int | None], bool]:
    """((places of the text columns, place of the label or None), whether the row is a header), from
    the first row of a table. Raises DataError.

    >>> find_columns(["id", "text", "label"], Columns(), "a.tsv")
    (([1], 2), True)
    >>> find_columns(["gj04", "1", "", "They drank."], Columns(("3",), "1"), "cola.tsv")
    (([3], 1), False)
    >>> find_columns(["good", "fun", "1"], Columns(), "pairs.tsv")
    (([0, 1], 2), False)
    """
    texts, label = columns.wanted
    cells = [cell.strip() for cell in first]
    place = {name: at for at, name in reversed(list(enumerate(cells)))}
    if all(name in place for name in texts) and (label in place or not columns.required):
        return ([place[name] for name in texts], place.get(label)), True
    if columns.named and all(name.isdecimal() for name in (*texts, columns.label) if name):
        return places_by_number(columns, len(cells), path), False
    if columns.named:
        missing = [name for name in (*texts, label) if name not in place]
        raise lacks_columns(f"the first row of {path}", missing, cells)
    if known := HEADERS & {cell.lower() for cell in cells}:
        raise DataError(
            f"the first row of {path} is a header ({short_repr(sorted(known)[0])} names a column), "
            f"and its columns are {', '.join(map(repr, cells))}. Name those that are read: "
            "data.fields=('TEXT',) or ('FIRST', 'SECOND'), and data.label_key=LABEL"
        )
    unlabelled = not columns.required and len(cells) == (columns.count or 1)
    if not unlabelled and len(cells) not in (2, 3):
        raise DataError(
            f"a table without column names has the columns text, label or text, text, label; "
            f"{path} has {len(cells)}: {short_repr(cells)}. Name the columns by their places, from "
            "0: data.fields=('3',) data.label_key=1"
        )
    last = len(cells) - (not unlabelled)
    return (list(range(last)), None if unlabelled else last), False


def places_by_number(columns: Columns, width: int, path: str) -> tuple[list[int], int | None]:
    """The places of columns that are named by digits. Raises DataError for one that is missing."""
    names, label = columns.wanted[0], columns.label
    if not all(name.isdecimal() for name in names) or (columns.required and not label):
        raise DataError(
            f"{path} has no header with {names} and {label or columns.default_label!r}; by place, "
            "both data.fields and data.label_key must be numbers from 0"
        )
    places = [int(name) for name in names]
    at = int(label) if label and (columns.required or int(label) < width) else None
    if most := [place for place in (*places, at) if place is not None and place >= width]:
        raise lacks_columns(f"the first row of {path}", map(str, most), map(str, range(width)))
    return places, at


def lacks_columns(where: str, missing: Any, present: Any) -> DataError:
    """The error for columns that a record or a header lacks."""
    return DataError(
        f"{where} must have the columns {', '.join(map(repr, missing))}; it has "
        f"{', '.join(map(repr, present)) or 'none'}. Name the text columns with data.fields and "
        "the labels with data.label_key"
    )


def read_texts(name: str, values: Sequence[Any]) -> list[str]:
    """The texts of a record, from a string or a list of strings for each text column.

    Raises DataError for other values and for empty texts.
    """
    parts: list[str] = []
    for value in values:
        several = value if isinstance(value, list) else [value]
        if not several or not all(isinstance(part, str) for part in several):
            raise DataError(f"the texts of {name} must be strings; received {short_repr(value)}")
        parts += several
    if empty := [number for number, part in enumerate(parts, start=1) if not part.strip()]:
        raise DataError(f"text {empty[0]} of {name} must not be empty. Fill it, or remove the line")
    return parts


def make_document(name: str, parts: Sequence[str], label: str | None, **record: Any) -> Document:
    """The document of a record: its texts, tokenized one by one, and its label as text."""
    try:
        joined = annotations.annotate_parts(parts).encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{name} has an unpaired surrogate, which UTF-8 cannot encode. Fix the line"
        ) from None
    return Document.from_bytes(name, joined, parts[0].encode(), label=label, **record)


def label_text(label: Any) -> str | None:
    """A label as text: a string unchanged, anything else as JSON; None without a label.

    >>> label_text(2), label_text(["B-PER", "O"])
    ('2', '["B-PER", "O"]')
    """
    if label is None:
        return None
    if isinstance(label, str):
        return label.strip()
    return json.dumps(label, ensure_ascii=False, allow_nan=False)
