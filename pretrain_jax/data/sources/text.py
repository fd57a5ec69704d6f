"""`text:GLOB`: files. A .jsonl file has one document per line; any other file is one document. For
objectives with labels, and with data.fields, every file is a table of records (_records.py); with
data.target_key, a .tsv or .csv file is one.

Files may be gzipped (.txt.gz). They are read in the order of their sorted paths. The text must be
valid UTF-8. It is used unchanged except for a byte-order mark at the start: line ends are kept,
nothing is normalized.
"""

import hashlib
from collections.abc import Iterator

from pretrain_jax.data import annotations, globs
from pretrain_jax.data.sources import (
    Columns,
    Document,
    Keys,
    Shard,
    TextSource,
    check_no_fields,
    read_chunks,
)
from pretrain_jax.data.sources._records import RecordShard
from pretrain_jax.data.text_files import TextFile
from pretrain_jax.errors import DataError
from pretrain_jax.files import parsing

TAKES_NAME = "GLOB"


class TextShard(Shard):
    """A file with one document."""

    def __init__(self, path: str):
        self.name = path
        self.file = TextFile(path)

    def digest(self) -> str:
        return "plain" + self.file.digest()

    def documents(self) -> Iterator[Document]:
        yield Document(self.name, self.chunks)

    def chunks(self, start: int) -> Iterator[bytes]:
        with self.file.open() as file:
            file.seek(file.tell() + start)
            yield from read_chunks(file)


class JsonLinesShard(Shard):
    """A file with one JSON object per line; blank lines are skipped."""

    def __init__(self, path: str, keys: Keys):
        self.name = path
        self.file = TextFile(path)
        self.keys = keys

    def digest(self) -> str:
        content = f"lines {self.keys.digest(self.file.digest())}"
        return hashlib.sha256(content.encode()).hexdigest()

    def documents(self) -> Iterator[Document]:
        with self.file.open() as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield self.document(line, f"{self.name} line {number}")

    def document(self, line: bytes, name: str) -> Document:
        keys = self.keys
        try:
            record = parsing.parse_json(line)
            wrong = self.record_error(record)
            if wrong is None:
                spans, target = record.get(keys.spans, []), record.get(keys.target, "")
                return keys.document(name, record[keys.text], spans, target)
        except UnicodeEncodeError:
            wrong = "the text has an unpaired surrogate, which UTF-8 cannot encode"
        except ValueError as error:
            wrong = str(error)
        fields = f'a string "{keys.text}"'
        fields += f' and a string "{keys.target}"' if keys.target else ""
        fields += f' and a list "{keys.spans}" of [start, end]' if keys.spans else ""
        options = {"text": "text_key", "spans": "spans_key", "target": "target_key"}
        named = " and ".join(f"data.{o}" for name, o in options.items() if getattr(keys, name))
        raise DataError(
            f"{name} must be a JSON object with {fields} in UTF-8; {wrong}. "
            f"Fix the line, or name the field with {named}"
        )

    def record_error(self, record: object) -> str | None:
        """What is wrong with a record, as a clause; None if it is valid."""
        if not isinstance(record, dict):
            return f"it is a {type(record).__name__}"
        keys = self.keys
        for key, kind in ((keys.text, str), (keys.target, str), (keys.spans, list)):
            if key and key not in record:
                return f"its fields are {', '.join(map(repr, record)) or 'none'}"
            if key and not isinstance(record[key], kind):
                return f'its "{key}" is a {type(record[key]).__name__}'
        wrong = (
            annotations.spans_error(record[keys.spans], len(record[keys.text]))
            if keys.spans
            else None
        )
        return wrong and f'its "{keys.spans}" {wrong}'


def open_shard(path: str, keys: Keys) -> Shard:
    """The shard of a file; its name decides the format."""
    if keys.columns:
        return RecordShard(path, keys.columns)
    if keys.target and path.lower().removesuffix(".gz").endswith((".tsv", ".csv")):
        return RecordShard(path, Columns((keys.text,), keys.target, 1, kind="targets"))
    if path.lower().removesuffix(".gz").endswith(".jsonl"):
        return JsonLinesShard(path, keys)
    check_no_fields(path, keys)
    return TextShard(path)


def find(name: str, keys: Keys) -> TextSource:
    """All files that the glob `name` matches (data/globs.py).

    Raises InputMissing if there are none.
    """
    shards = [open_shard(path, keys) for path in globs.expand_glob(name)]
    has_places = bool(keys.columns and keys.columns.places)
    return TextSource("text", shards, keys.annotation_kind, has_places)
