"""What every source of text is, and opening the one that a config names."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pretrain_jax import registry
from pretrain_jax.data import annotations
from pretrain_jax.errors import ConfigError, DataError

CHUNK = 1 << 18
"""Bytes read at once from a file."""


@dataclass(frozen=True)
class Document:
    """One text. `name` says where it lies, for messages: "a.txt", or "b.jsonl line 7"."""

    name: str
    chunks: Callable[[int], Iterator[bytes]]
    """chunks(start): the document's bytes from `start` to its end, cut anywhere."""
    own: bytes | None = None
    """The text of the record alone, where `chunks` have marks or a target in them: the split into
    halves goes by it, the same for all that read the record."""

    @classmethod
    def of(cls, name: str, data: bytes, own: bytes | None = None) -> "Document":
        """A document that is already in memory."""
        return cls(name, lambda start: iter([data[start:]]), own)


class Shard(ABC):
    """A part of a source that can be read without the others."""

    name: str

    @abstractmethod
    def digest(self) -> str:
        """Hex digest of everything that the documents of this shard depend on."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """The documents, always the same and in the same order."""


@dataclass(frozen=True)
class Keys:
    """Names of the fields of a record; "" = none."""

    text: str = "text"
    spans: str = ""
    """[[start, end], ...]: character places of the text's salient spans, marked 1 and 2 in turn."""
    target: str = ""
    """The target text of a pair, marked 1; the text is its inputs."""

    @property
    def kind(self) -> str:
        """What is marked: "spans", "targets" or ""."""
        return "spans" if self.spans else "targets" if self.target else ""

    def digest(self, content: str) -> str:
        """Distinguishes what records of the same `content` are read as."""
        marked = [f"{name}={key}" for name, key in vars(self).items() if key and name != "text"]
        return " ".join([self.text, *marked, content])

    def document(
        self, name: str, text: str, spans: Sequence[Sequence[int]], target: str
    ) -> Document:
        """A record's fields as a document, with its marks."""
        own = text.encode()
        if self.spans:
            return Document.of(name, annotations.mark_spans(text, spans).encode(), own)
        if self.target:
            return Document.of(name, annotations.mark_target(text, target).encode(), own)
        return Document.of(name, own)


@dataclass(frozen=True)
class Source:
    """A place that holds text. `label` opens the corpus's fingerprint ("stdlib-3.11.9").

    marks   what its texts have marked: "spans", "targets" or ""
    """

    label: str
    shards: Sequence[Shard]
    marks: str = ""


def open_source(
    source: str, *, text_key: str = "text", spans_key: str = "", target_key: str = ""
) -> Source:
    """The source that a config's string names.

    Raises ConfigError for an unknown scheme, InputMissing where nothing is found.
    """
    if spans_key and target_key:
        raise ConfigError(
            "a source marks spans or targets, not both; received "
            f"data.spans_key={spans_key!r} and data.target_key={target_key!r}"
        )
    scheme, colon, name = source.partition(":")
    known = registry.names("data.sources")
    if scheme not in known and (set("/*.~") & set(scheme) or os.path.lexists(source)):
        raise ConfigError(
            f"data.source must begin with a scheme, one of {', '.join(known)}; received "
            f"{source!r}. To read these files as text, write text:{source}"
        )
    module = registry.load("data.sources", scheme, "the scheme of data.source")
    if bool(name) != bool(module.TAKES_NAME) or bool(colon) != bool(name):
        wanted = f"{scheme}:{module.TAKES_NAME}" if module.TAKES_NAME else scheme
        raise ConfigError(f"data.source must be written {wanted}; received {source!r}")
    return module.find(name, Keys(text_key, spans_key, target_key))


def without_fields(what: str, keys: Keys) -> None:
    """Raises DataError where marks are asked of text that has no fields to hold them."""
    if keys.kind:
        option, key = ("spans_key", keys.spans) if keys.spans else ("target_key", keys.target)
        raise DataError(
            f"data.{option} names a field of records (.jsonl, tfds); {what} has no fields, and "
            f"data.{option} is {key!r}. Leave it empty, or name other files in data.source"
        )


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file in pieces of CHUNK bytes."""
    while chunk := file.read(CHUNK):
        yield chunk


def hash_file(path: str) -> str:
    """SHA-256 of a file's bytes; threads run it side by side, since hashlib releases the GIL."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
