"""`text:GLOB`: files on disk. A .txt or .md file is one document, a .jsonl file one a line.

Each may be gzipped (.txt.gz). Files are read in the order of their sorted paths. The text must be
valid UTF-8 and is used byte for byte: line ends are kept, nothing is normalised.
"""

import contextlib
import difflib
import glob
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from pretrain_jax import stored
from pretrain_jax.data import marks
from pretrain_jax.data.sources import (
    Document,
    Keys,
    Shard,
    Source,
    hash_file,
    read_chunks,
    without_fields,
)
from pretrain_jax.errors import DataError, InputMissing

TAKES_NAME = "GLOB"
SUFFIXES = (".txt", ".md", ".jsonl")


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file open for reading, through gzip where its name ends in .gz."""
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            yield cast(BinaryIO, file)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{path} must be a complete gzip file; {error}. Copy or compress it again"
        ) from error
    except OSError as error:
        raise InputMissing(f"{path} must be readable; {error.strerror or error}") from error


class Plain(Shard):
    """A file that is one document."""

    def __init__(self, path: str):
        self.name = path

    def digest(self) -> str:
        with opened(self.name):
            return "plain" + hash_file(self.name)

    def documents(self) -> Iterator[Document]:
        yield Document(self.name, self.chunks)

    def chunks(self, start: int) -> Iterator[bytes]:
        with opened(self.name) as file:
            file.seek(start)
            yield from read_chunks(file)


class Lines(Shard):
    """A file with one JSON object a line; blank lines are skipped."""

    def __init__(self, path: str, keys: Keys):
        self.name = path
        self.keys = keys

    def digest(self) -> str:
        with opened(self.name):
            whole = f"lines {self.keys.digest(hash_file(self.name))}"
        return hashlib.sha256(whole.encode()).hexdigest()

    def documents(self) -> Iterator[Document]:
        with opened(self.name) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield self.document(line, f"{self.name} line {number}")

    def document(self, line: bytes, name: str) -> Document:
        keys = self.keys
        try:
            record = stored.parse(line)
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
        wrong = marks.complaint(record[keys.spans], len(record[keys.text])) if keys.spans else None
        return wrong and f'its "{keys.spans}" {wrong}'


def shard(path: str, keys: Keys) -> Shard:
    suffix = Path(path.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise DataError(
            f"files of data.source must end in {', '.join(SUFFIXES)} (or those with .gz); the glob "
            f"also matches {path}. Narrow the glob, for example to *.txt"
        )
    if suffix == ".jsonl":
        return Lines(path, keys)
    without_fields(path, keys)
    return Plain(path)


def find(name: str, keys: Keys) -> Source:
    """Every file that the glob `name` matches; `**` matches any number of folders.

    Raises InputMissing when nothing matches, DataError for a file of another kind.
    """
    pattern = os.path.expanduser(name)
    paths = sorted(p for p in glob.glob(pattern, recursive=True) if not os.path.isdir(p))
    if not paths:
        raise InputMissing(
            f"data.source 'text:{name}' must match at least one file; nothing matches. "
            + neighbours(Path(pattern))
        )
    return Source("text", [shard(path, keys) for path in paths], keys.kind)


def neighbours(pattern: Path) -> str:
    """What lies where the glob looked: its nearest folder that exists, and the likeliest names."""
    if pattern.is_dir():
        return f"{pattern} is a folder: write {pattern}/*.txt, or {pattern}/**/*.txt"
    missed = pattern.name
    folder = pattern.parent
    while not folder.is_dir():
        missed, folder = folder.name, folder.parent
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if p.name[0] != ".")
    near = difflib.get_close_matches(missed, names, n=8, cutoff=0.3)
    listed = (near + [n for n in names if n not in near])[:8]
    more = ", ..." if len(names) > 8 else ""
    return f"The folder {folder.absolute()} holds {', '.join(listed) or 'nothing'}{more}"
