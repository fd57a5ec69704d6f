"""The classes of all text sources, and `open_source`."""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from pretrain_jax import registry
from pretrain_jax.data import annotations
from pretrain_jax.errors import ConfigError, DataError

CHUNK = 1 << 18
"""Bytes per read from a file."""


@dataclass(frozen=True)
class Document:
    """A text. `name` is its location, for messages: "a.txt" or "b.jsonl line 7"."""

    name: str
    chunks: Callable[[int], Iterator[bytes]]
    """chunks(start): the bytes of the document from `start` to its end, split anywhere."""
    plain_text: bytes | None = None
    """The text of the record without annotations and target, if `chunks` contain them. The
    train/validation split depends only on this text, so that all readers of a record agree."""
    label: str | None = None
    """The label of a record (_records.py)."""
    texts: tuple[str, ...] = ()
    """For `Columns.places`: the words of a record, or its question and context."""
    id: str | None = None
    """For `Columns.places`: the id of a record, if it has one."""

    @classmethod
    def from_bytes(
        cls, name: str, data: bytes, plain_text: bytes | None = None, **record: Any
    ) -> "Document":
        """A document in memory. record: label, texts and id of a record."""
        return cls(name, lambda start: iter([data[start:]]), plain_text, **record)


class Shard(ABC):
    """A part of a source that can be read independently."""

    name: str

    @abstractmethod
    def digest(self) -> str:
        """Hex digest of everything that the documents of this shard depend on."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """The documents, always in the same order."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a record are its texts and its label, and what they are used for.

    A name that consists of digits is the place of a column, from 0, in a table without a header.
    """

    texts: tuple[str, ...] = ()
    """Names of the text columns (data.fields). () = `default_texts`, or, in a table without a
    header that has them, all columns before the label."""
    label: str = ""
    """Name of the column of labels (data.label_key). "" = `default_label`, or the last column."""
    count: int = 0
    """The number of text columns; 0 = any. A table of `count` columns has no labels."""
    fewer: bool = False
    """Whether a record may have fewer texts than `count`."""
    required: bool = True
    """Whether every record must have a label."""
    default_texts: tuple[str, ...] = ("text",)
    default_label: str = "label"
    implied_label: str = ""
    """The label of every record; "" = that of its column."""
    places: str = ""
    """What has a place in the texts (_places.py): "words", each with a tag; "answers" in the second
    text; "" = nothing."""
    kind: str = "records"
    """"records": texts with a label. "text": one text, which has the text columns on a line each.
    "targets": a text, and the label is its target text. "conversation": see `template`."""
    template: str = ""
    """A chat template: the records are conversations (_conversations.py), each of which is a
    document, or for "targets" has one for each answer."""

    @property
    def named(self) -> bool:
        """Whether the user names a column."""
        return bool(self.texts or self.label)

    @property
    def options(self) -> str:
        """The options that name the columns, for messages."""
        if self.kind == "targets":
            return "the input with data.text_key and the target with data.target_key"
        labels = " and the labels with data.label_key" if self.kind == "records" else ""
        return f"the text columns with data.fields{labels}"

    @property
    def wanted(self) -> tuple[tuple[str, ...], str]:
        """The names of the text columns and of the label."""
        return self.texts or self.default_texts, self.label or self.default_label

    def digest(self, content: str) -> str:
        """A digest of what is read from records with the digest `content`."""
        more = [self.places] if self.places else []
        more += [self.kind] if self.kind != "records" else []
        more += [self.template] if self.template else []
        more += [self.implied_label] if self.implied_label else []
        read = json.dumps([self.texts, self.label, self.count, *self.wanted, *more])
        return hashlib.sha256(f"records {read} {content}".encode()).hexdigest()


@dataclass(frozen=True)
class Keys:
    """The names of the fields of a record; "" = none."""

    text: str = "text"
    spans: str = ""
    """[[start, end], ...]: salient spans in characters; their annotations are 1 and 2 in turn."""
    target: str = ""
    """The target of a pair, with annotation 1; the text is the input."""
    columns: Columns | None = None
    """For tables, instead of `text`, `spans` and `target`."""

    @property
    def annotation_kind(self) -> str:
        """What is annotated: "records", "spans", "targets" or ""."""
        if self.columns:
            return "" if self.columns.kind == "text" else self.columns.kind
        return "spans" if self.spans else "targets" if self.target else ""

    def digest(self, content: str) -> str:
        """A digest of what is read from records with the digest `content`."""
        fields = [f"{name}={key}" for name, key in vars(self).items() if key and name != "text"]
        return " ".join([self.text, *fields, content])

    def document(
        self, name: str, text: str, spans: Sequence[Sequence[int]], target: str
    ) -> Document:
        """A document from the fields of a record, with its annotations."""
        plain = text.encode()
        if self.spans:
            return Document.from_bytes(
                name, annotations.annotate_spans(text, spans).encode(), plain
            )
        if self.target:
            return Document.from_bytes(
                name, annotations.annotate_target(text, target).encode(), plain
            )
        return Document.from_bytes(name, plain)


@dataclass(frozen=True)
class TextSource:
    """A source of text. `label` is the start of the fingerprint of its corpus ("stdlib-3.11.9").

    annotation_kind   what is annotated: "records", "spans", "targets" or ""
    has_places        whether the labels of records have places in their texts (`Columns.places`)
    """

    label: str
    shards: Sequence[Shard]
    annotation_kind: str = ""
    has_places: bool = False


def encode_text(name: str, text: str) -> bytes:
    """A text as UTF-8. Raises DataError."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{name} has an unpaired surrogate, which UTF-8 cannot encode. Fix the line"
        ) from None


def open_source(
    source: str,
    *,
    text_key: str = "text",
    spans_key: str = "",
    target_key: str = "",
    columns: Columns | None = None,
) -> TextSource:
    """The source of the config value `data.source`. columns: for records with labels, or with
    several columns of text.

    Raises ConfigError for an unknown scheme, InputMissing if there is no text.
    """
    if spans_key and target_key:
        raise ConfigError(
            "a source has spans or targets, not both; received "
            f"data.spans_key={spans_key!r} and data.target_key={target_key!r}. Leave one empty"
        )
    scheme, colon, name = source.partition(":")
    known = registry.names("data.sources")
    if scheme not in known and (set("/*.~") & set(scheme) or os.path.lexists(source)):
        raise ConfigError(
            f"data.source must start with a scheme, one of {', '.join(known)}; received "
            f"{source!r}. To read these files as text, write text:{source}"
        )
    module = registry.load("data.sources", scheme, "the scheme of data.source")
    if bool(name) != bool(module.TAKES_NAME) or bool(colon) != bool(name):
        wanted = f"{scheme}:{module.TAKES_NAME}" if module.TAKES_NAME else scheme
        raise ConfigError(f"data.source must be written {wanted}; received {source!r}")
    return module.find(name, Keys(text_key, spans_key, target_key, columns))


def check_no_fields(what: str, keys: Keys) -> None:
    """Raises DataError if `keys` name fields of annotations for text that has no fields."""
    if keys.columns:
        who = "an objective with labels" if keys.columns.kind == "records" else "data.fields"
        raise DataError(
            f"{who} needs records, which are the lines of .jsonl, .tsv and .csv files; {what} has "
            "none. Name such files: data.source=text:FILE"
        )
    if keys.annotation_kind:
        option, key = ("spans_key", keys.spans) if keys.spans else ("target_key", keys.target)
        raise DataError(
            f"data.{option} must be empty for text without records (only .jsonl and tfds have "
            f"them); {what} has no fields, and data.{option} is {key!r}. Leave it empty, or name "
            "other files in data.source"
        )


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file in chunks of CHUNK bytes."""
    while chunk := file.read(CHUNK):
        yield chunk


def hash_file(path: str) -> str:
    """SHA-256 of the bytes of a file. Threads run it in parallel: hashlib releases the GIL."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
