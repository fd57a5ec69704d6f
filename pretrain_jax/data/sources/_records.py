"""Records by columns: one JSON object per line (.jsonl), or the rows of a table (.tsv, .csv).

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

from pretrain_jax import switches
from pretrain_jax.data import annotations
from pretrain_jax.data.sources import _conversations, _places
from pretrain_jax.data.sources._base import Columns, Document, Shard, encode_text
from pretrain_jax.data.sources._columns import find_columns, lacks_columns
from pretrain_jax.data.text_files import TextFile
from pretrain_jax.errors import DataError, short_repr
from pretrain_jax.files import parsing

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
            if self.columns.template:
                read = _conversations.read_json_list if format == "json" else read_json_lines
                yield from _conversations.read_documents(read(file, self.name), self.columns)
            elif format == "jsonl":
                yield from self._objects(read_json_lines(file, self.name))
            elif (format, places) == ("json", "answers"):
                yield from self._objects(_places.read_squad(file, self.name))
            elif (format, places) == ("conll", "words"):
                for name, words, tags in read_conll(file, self.name, self.columns):
                    yield self._document(name, [words], tags)
            else:
                yield from self._rows(read_csv(file, self.name) if format == "csv"
                                      else read_tsv(file, self.name))  # fmt: skip

    def _objects(self, records: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[Document]:
        texts, label = self.columns.wanted
        needed = [*texts, *([label] if self.columns.required else [])]
        for name, record in records:
            if missing := [key for key in needed if key not in record]:
                raise lacks_columns(name, missing, list(record), self.columns)
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
                awk = f"awk -F'\\t' 'NF == {width}' {self.name}"
                plain = self.format == "tsv" and not self.name.endswith(".gz")
                keep = f", or keep the complete ones: {awk}" if plain else ""
                raise DataError(
                    f"every row of {self.name} must have {width} columns, as the first; line "
                    f"{number} has {len(row)}. Fix that line{keep}"
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
        if places and any(map(switches.SWITCHES.search, parts)):
            raise DataError(
                f"a text with places must have none of the noncharacters U+FDD0 to U+FDD2; {name} "
                "has one. Remove it, and count the places again"
            )
        check_filled(name, parts)
        if wanted and (len(parts) > wanted or (len(parts) < wanted and not self.columns.fewer)):
            raise DataError(
                f"a record of this run has {'one text' if wanted == 1 else f'{wanted} texts'}; "
                f"{name} has {len(parts)}. Name the text columns with data.fields"
            )
        if self.columns.kind == "text":
            return Document.from_bytes(name, encode_text(name, "\n".join(parts)))
        if self.columns.kind == "targets":
            return make_pair(name, parts[0], "" if label is None else str(label))
        if not places:
            label = self.columns.implied_label or label_text(name, label)
            return make_document(name, parts, label)
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
    file: BinaryIO, path: str, columns: Columns
) -> Iterator[tuple[str, list[str], list[str] | None]]:
    """(name for messages, words, tags) of the sentences of a CoNLL file; None for no tags.

    Each line is a word, with spaces or tabs between its columns: the word is the first, its tag the
    last, unless `columns` names others by their places from 0. Blank lines separate sentences.
    Lines that begin with -DOCSTART- are skipped. Raises DataError, also where tags are required and
    a line has none.
    """
    at, tag_at = conll_columns(columns, path)
    least = 1 + max(at, 1 if tag_at is None else tag_at)
    rows: list[list[str]] = []
    first = 0
    for number, line in enumerate(itertools.chain(file, [b""]), start=1):
        text = decode(line, path, number).strip(" \t\r\n")
        cells = [] if text.startswith("-DOCSTART-") else BLANK.split(text) if text else []
        if cells and len(cells) <= (least - 1 if columns.required else at):
            raise DataError(
                f"every line of {path} must have a word and its tag, in {least} columns or more; "
                f"line {number} has {short_repr(text)}. Fix the line, or name the columns by their "
                "places, from 0: data.fields=('0',) data.label_key=1"
            )
        if cells:
            first = first if rows else number
            rows.append(cells)
        elif rows:
            known = all(len(row) >= least for row in rows)
            last = -1 if tag_at is None else tag_at
            tags = [row[last] for row in rows] if known else None
            yield f"{path} line {first}", [row[at] for row in rows], tags
            rows = []


def conll_columns(columns: Columns, path: str) -> tuple[int, int | None]:
    """(place of the word, place of the tag or None for the last column). Raises DataError."""
    word, tag = (columns.texts or ("0",)), columns.label
    if len(word) != 1 or not word[0].isdecimal() or (tag and not tag.isdecimal()):
        raise DataError(
            f"the columns of a .conll file have no names; {path} is one, and data.fields is "
            f"{columns.texts} with data.label_key={tag!r}. Name one column of words and one of "
            "tags by their places, from 0: data.fields=('0',) data.label_key=1"
        )
    return int(word[0]), int(tag) if tag else None


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


def read_texts(name: str, values: Sequence[Any]) -> list[str]:
    """The texts of a record, from a string or a list of strings for each text column.

    Raises DataError for other values.
    """
    parts: list[str] = []
    for value in values:
        several = value if isinstance(value, list) else [value]
        if not several or not all(isinstance(part, str) for part in several):
            raise DataError(f"the texts of {name} must be strings; received {short_repr(value)}")
        parts += several
    return parts


def check_filled(name: str, parts: Sequence[str]) -> None:
    """Raises DataError for a text that is empty, or has nothing but switches."""
    bare = [switches.strip_switches(part).strip() for part in parts]
    if empty := [number for number, part in enumerate(bare, start=1) if not part]:
        raise DataError(f"text {empty[0]} of {name} must not be empty. Fill it, or remove the line")


def make_document(name: str, parts: Sequence[str], label: str | None, **record: Any) -> Document:
    """The document of a record: its texts, tokenized one by one, and its label as text."""
    joined = encode_text(name, annotations.annotate_parts(parts))
    plain = "\n".join(parts).encode()
    return Document.from_bytes(name, joined, plain, label=label, **record)


def make_pair(name: str, text: str, target: str) -> Document:
    """The document of a text and its target."""
    joined = encode_text(name, annotations.annotate_target(text, target))
    return Document.from_bytes(name, joined, text.encode())


def label_text(name: str, label: Any) -> str | None:
    """A label as text: a string without outer spaces, anything else as JSON; None without a label,
    as of an empty cell. Raises DataError for a number that is not finite.

    >>> label_text("", 2), label_text("", " B-PER"), label_text("", " ")
    ('2', 'B-PER', None)
    """
    if isinstance(label, str):
        return label.strip() or None
    try:
        return None if label is None else json.dumps(label, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise DataError(
            f"a label must be a text or a finite number; that of {name} is {short_repr(label)}. "
            "Fix it, or use null for a record without a label"
        ) from error
