"""Where text comes from; every module of this folder is a scheme of `data.source`.

`data.source` is a string, SCHEME or SCHEME:NAME ("stdlib", "text:books/*.txt", "tfds:my_set").
A module offers `find(name, *, text_key) -> Source`.

A source lists shards, each readable without the others. A shard yields its documents in a fixed
order. A document streams its UTF-8 bytes, so that one file of 10 GB never sits in memory.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError

CHUNK = 1 << 18
"""Bytes read at once from a file."""


@dataclass(frozen=True)
class Document:
    """One text. `name` says where it lies, for messages: "a.txt", or "b.jsonl line 7"."""

    name: str
    chunks: Callable[[int], Iterator[bytes]]
    """chunks(start): the document's bytes from `start` to its end, cut anywhere."""

    @classmethod
    def of(cls, name: str, data: bytes) -> "Document":
        """A document that is already in memory."""
        return cls(name, lambda start: iter([data[start:]]))


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
class Source:
    """A place that holds text. `label` opens the corpus's fingerprint ("stdlib-3.11.9")."""

    label: str
    shards: Sequence[Shard]


def open_source(source: str, *, text_key: str = "text") -> Source:
    """The source that a config's string names.

    Raises ConfigError for an unknown scheme, InputMissing where nothing is found.
    """
    scheme, colon, name = source.partition(":")
    module = registry.load("data.sources", scheme, "the scheme of data.source")
    if bool(name) != bool(module.TAKES_NAME) or bool(colon) != bool(name):
        wanted = f"{scheme}:{module.TAKES_NAME}" if module.TAKES_NAME else scheme
        raise ConfigError(f"data.source must be written {wanted}; received {source!r}")
    return module.find(name, text_key=text_key)


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file in pieces of CHUNK bytes."""
    while chunk := file.read(CHUNK):
        yield chunk


def hash_file(path: str) -> str:
    """SHA-256 of a file's bytes; threads run it side by side, since hashlib releases the GIL."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
