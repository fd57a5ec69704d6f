"""`text:GLOB`: files on disk. A .jsonl file is one document a line, any other file is one document.

Each may be gzipped (.txt.gz). Files are read in the order of their sorted paths. The text must be
valid UTF-8 and is used byte for byte, but for a byte-order mark in front: line ends are kept,
nothing is normalised.
"""

import hashlib
from collections.abc import Iterator

from pretrain_jax.data import annotations, globs
from pretrain_jax.data.files import TextFile
from pretrain_jax.data.sources import Document, Keys, Shard, Source, read_chunks, without_fields
from pretrain_jax.errors import DataError
from pretrain_jax.files import parsing

TAKES_NAME = "GLOB"


class Plain(Shard):
    """A file that is one document."""

    def __init__(self, path: str):
        self.name = path
        self.file = TextFile(path)

    def digest(self) -> str:
        return "plain" + self.file.digest()

    def documents(self) -> Iterator[Document]:
        yield Document(self.name, self.chunks)

    def chunks(self, start: int) -> Iterator[bytes]:
        with self.file.opened() as file:
            file.seek(file.tell() + start)
            yield from read_chunks(file)


class Lines(Shard):
    """A file with one JSON object a line; blank lines are skipped."""

    def __init__(self, path: str, keys: Keys):
        self.name = path
        self.file = TextFile(path)
        self.keys = keys

    def digest(self) -> str:
        whole = f"lines {self.keys.digest(self.file.digest())}"
        return hashlib.sha256(whole.encode()).hexdigest()

    def documents(self) -> Iterator[Document]:
        with self.file.opened() as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield self.document(line, f"{self.name} line {number}")

    def document(self, line: bytes, name: str) -> Document:
        keys = self.keys
        try:
            record = parsing.parse(line)
            wrong = self.complaint(record)
            if wrong is None:
                spans, target = record.get(keys.spans, []), record.get(keys.target, "")
                return keys.document(name, record[keys.text], spans, target)
        except UnicodeEncodeError:
            wrong = "the text holds half a surrogate pair, which UTF-8 cannot write"
        except ValueError as error:
            wrong = str(error)
        fields = f'a string "{keys.text}"'
        fields += f' and a string "{keys.target}"' if keys.target else ""
        fields += f' and a list "{keys.spans}" of [start, end]' if keys.spans else ""
        options = {"text": "text_key", "spans": "spans_key", "target": "target_key"}
        named = " and ".join(f"data.{o}" for name, o in options.items() if getattr(keys, name))
        raise DataError(
            f"{name} must be a JSON object with {fields} in UTF-8; {wrong}. "
            f"Mend the line, or name the field with {named}"
        )

    def complaint(self, record: object) -> str | None:
        if not isinstance(record, dict):
            return f"it is a {type(record).__name__}"
        keys = self.keys
        for key, kind in ((keys.text, str), (keys.target, str), (keys.spans, list)):
            if key and key not in record:
                return f"its fields are {', '.join(map(repr, record)) or 'none'}"
            if key and not isinstance(record[key], kind):
                return f'its "{key}" is a {type(record[key]).__name__}'
        wrong = (
            annotations.complaint(record[keys.spans], len(record[keys.text]))
            if keys.spans
            else None
        )
        return wrong and f'its "{keys.spans}" {wrong}'


def shard(path: str, keys: Keys) -> Shard:
    if path.lower().removesuffix(".gz").endswith(".jsonl"):
        return Lines(path, keys)
    without_fields(path, keys)
    return Plain(path)


def find(name: str, keys: Keys) -> Source:
    """Every file that the glob `name` matches (data/globs.py).

    Raises InputMissing when nothing matches.
    """
    return Source("text", [shard(path, keys) for path in globs.files(name)], keys.kind)
