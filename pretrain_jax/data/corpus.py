"""Which documents there are, which of them are held out, and their text in bounded pieces."""

import codecs
import hashlib
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from operator import methodcaller

import numpy as np

from pretrain_jax import registry
from pretrain_jax.data import annotations, sources
from pretrain_jax.data.pieces import pieces
from pretrain_jax.data.sources import Document, Shard, Source
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.progress import progress

SPLITS = ("train", "valid")
POLICIES = ("auto", "hash", "tail", "all")
HELD_OUT = 20  # by hash, one document in 20 is for validation
FEW = 100  # "auto" takes the tail of every document when there are fewer documents than this
NULS = 1000  # a file may have one NUL in so many bytes
PIECE = 1 << 18  # characters of a document that are in memory and tokenized at once
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """What one reading of a shard finds out about its N documents."""

    sizes: np.ndarray
    """int64 [N]: UTF-8 bytes, with marks."""
    own: np.ndarray
    """int64 [N]: UTF-8 bytes of the text alone (`Document.own`)."""
    hashes: np.ndarray
    """uint64 [N]: of the text alone, so that equal texts fall into the same split."""


class Corpus:
    """The documents of a source and their split into "train" and "valid".

    Nothing is read before it is needed: `fingerprint` hashes the source's bytes, everything else
    first reads all documents once (checking that they are UTF-8).
    """

    def __init__(self, source: Source, *, name: str, split: str = "auto"):
        self.name = name
        self.source = source
        self.policy = split
        self.marks = source.marks
        self.peers: list[Corpus] = []

    def agree_with(self, others: Iterable["Corpus"]) -> None:
        """Holds out what `others`, corpora over some of the same files, hold out of these files.

        Every policy holds the same out of one document but "auto", which looks at all of them.
        """
        others = [other for other in others if other is not self]
        if self.policy == "auto" and self.marks != "targets":
            if any(other.marks == "targets" for other in others):
                self.policy = "hash"
            self.peers = [other for other in others if other.files != self.files]

    @property
    def files(self) -> list[str]:
        """The names of its shards."""
        return [shard.name for shard in self.source.shards]

    @cached_property
    def digests(self) -> list[str]:
        """Of each shard, what its bytes and the fields that are read of them are."""
        return in_threads(methodcaller("digest"), self.source.shards)

    @cached_property
    def fingerprint(self) -> str:
        """Over the bytes of the source in their order, and `split`; not over where files lie."""
        by_text = self.marks == "targets" or (self.marks == "spans" and self.policy != "hash")
        with progress(f"reading {self.name}"):
            digests = self.digests
        parts = [f"{self.policy} by text" if by_text else self.policy, *digests]
        if self.policy == "auto":
            parts += sorted(digest for peer in self.peers for digest in peer.digests)
        joined = hashlib.sha256("\n".join(parts).encode())
        return f"{self.source.label}-{joined.hexdigest()}"

    @cached_property
    def tables(self) -> list[Table]:
        with progress(f"checking the text of {self.name}"):
            tables = in_threads(survey, self.source.shards)
        if not any(table.sizes.any() for table in tables):
            raise DataError(
                f"data.source must hold text; {self.name} has {len(self.source.shards)} file(s) "
                "and not one byte of text in them"
            )
        return tables

    @cached_property
    def split(self) -> str:
        """How validation text is held out: "hash" (whole documents) or "tail" (of each)."""
        chosen = self.policy
        if chosen == "all":
            return chosen
        if chosen == "auto" and self.marks == "targets":
            chosen = "hash"  # a tail would part the inputs from their targets
        if chosen == "auto":
            chosen = "hash" if all(c.many for c in (self, *self.peers)) else "tail"
        for half in SPLITS:
            if not sum(part.sum() for part in self.sizes(half, chosen)):
                mend = (
                    "Add records" if self.marks == "targets" else "Add text, or use data.split=auto"
                )
                raise DataError(
                    f"neither half of data.split may be empty; splitting {self.name} by {chosen} "
                    f"leaves nothing in {half}. {mend}"
                )
        how = f"1 document in {HELD_OUT}" if chosen == "hash" else "the last tenth of each document"
        log.info("%s: validation text is %s (data.split=%s)", self.name, how, chosen)
        return chosen

    @cached_property
    def many(self) -> bool:
        """Whether there are so many documents that each half has some by their hashes."""
        filled = np.concatenate([table.hashes[table.own > 0] for table in self.tables])
        held_out = int(np.count_nonzero(filled % HELD_OUT == 0))
        return len(filled) >= FEW and 0 < held_out < len(filled)

    @cached_property
    def cuts(self) -> list[np.ndarray]:
        """For each shard, int64 [N]: bytes of each document before its tail, a tenth of it."""
        tables = self.tables
        with progress(f"holding out text of {self.name}"):
            return in_threads(cut_shard, self.source.shards, tables)

    def sizes(self, half: str, split: str) -> list[np.ndarray]:
        """For each shard, int64 [N]: bytes of each document that belong to `half`."""
        if split == "tail":
            tables = zip(self.tables, self.cuts, strict=True)
            return [cuts if half == "train" else table.sizes - cuts for table, cuts in tables]
        if split == "all":
            return [table.sizes * (half == "valid") for table in self.tables]
        return [t.sizes * ((t.hashes % HELD_OUT == 0) == (half == "valid")) for t in self.tables]

    def bytes(self, half: str) -> int:
        """UTF-8 bytes of text in "train" or "valid", with what marks it."""
        return int(sum(part.sum() for part in self.sizes(half, self.split)))

    def count(self, half: str) -> int:
        """Documents in "train" or "valid" that have any text there."""
        return int(sum(np.count_nonzero(part) for part in self.sizes(half, self.split)))

    def documents(self, half: str) -> Iterator[Iterator[str]]:
        """Every document of "train" or "valid" as an iterator of pieces; see `pieces`.

        A document's pieces must be taken before the next document is.
        """
        parts = self.sizes(half, self.split)
        tails = (half, self.split) == ("valid", "tail")
        begins = self.cuts if tails else [np.zeros_like(sizes) for sizes in parts]
        for shard, starts, sizes in zip(self.source.shards, begins, parts, strict=True):
            for document, start, size in zip(shard.documents(), starts, sizes, strict=True):
                if size:
                    yield pieces(decode(document, int(start), int(size)), PIECE)

    def texts(self, half: str) -> Iterator[str]:
        """The text of "train" or "valid" in pieces, for training a tokenizer."""
        found = itertools.chain.from_iterable(self.documents(half))
        if self.marks == "targets":
            return (text for piece in found for _, text in annotations.runs(piece) if text)
        return map(annotations.strip, found) if self.marks else found


def open_corpus(
    source: str,
    *,
    split: str = "auto",
    text_key: str = "text",
    spans_key: str = "",
    target_key: str = "",
) -> Corpus:
    """The corpus that `data.source` names; see `sources` for how sources are written.

    `split` holds out whole documents by a hash of their content ("hash", 1 in 20), or the last
    tenth of each document ("tail": for a single ASCII file of n bytes, what follows int(0.9 * n));
    "auto" is "tail" under 100 documents, or where the hash would leave a half empty; "all" leaves
    nothing to train on, for scoring a text that no model was trained on. `text_key` is
    the field of a record that holds its text, `spans_key` that of its salient spans, `target_key`
    that of the targets that the text is the inputs of (`sources.Keys`); "auto" is then "hash".

    Raises ConfigError, InputMissing; on reading, DataError.
    """
    registry.check_name(split, POLICIES, "data.split")
    if target_key and split == "tail":
        raise ConfigError(
            "data.split=tail cuts documents, and with data.target_key a document is a pair that "
            f"must stay whole; received {target_key!r}. Use data.split=hash"
        )
    keys = {"text_key": text_key, "spans_key": spans_key, "target_key": target_key}
    return Corpus(sources.open_source(source, **keys), name=source, split=split)


def in_threads(function, *items):
    """`map` in threads, as a list. Hashing, decompressing and reading release the GIL."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, *items))


def survey(shard: Shard) -> Table:
    """Reads a shard once and checks that all of it is UTF-8."""
    sizes, own, hashes, nuls = [], [], [], 0
    for document in shard.documents():
        digest, size = hashlib.blake2b(document.own or b"", digest_size=8), 0
        for text in decode(document):
            data = text.encode()
            size += len(data)
            nuls += data.count(0)
            if document.own is None:
                digest.update(data)
        sizes.append(size)
        own.append(size if document.own is None else len(document.own))
        hashes.append(int.from_bytes(digest.digest(), "little"))
    if nuls * NULS > sum(sizes):
        raise DataError(
            f"text may have one NUL in {NULS} bytes; {shard.name} has {nuls} in {sum(sizes)}. Is "
            "it another kind of file, or in another encoding? Convert it, or leave it out"
        )
    if nuls:
        log.warning("%s has %d NUL characters in its text, which are kept", shard.name, nuls)
    return Table(np.array(sizes, np.int64), np.array(own, np.int64), np.array(hashes, np.uint64))


def cut_shard(shard: Shard, table: Table) -> np.ndarray:
    """int64 [N]: where the tail of each document begins."""
    pairs = zip(shard.documents(), table.own.tolist(), strict=True)
    return np.array([cut(document, int(0.9 * size)) for document, size in pairs], np.int64)


def cut(document: Document, at: int) -> int:
    """The byte of the document where the character begins that byte `at` of its text is in."""
    if document.own is None:
        return character_start(document, at)
    marked = b"".join(document.chunks(0))
    return annotations.place(
        marked, document.own, character_start(Document.of("", document.own), at)
    )


def character_start(document: Document, at: int) -> int:
    """The first byte of the character that byte `at` of the document belongs to."""
    start = max(at - 3, 0)
    window = next(document.chunks(start), b"")[: at - start + 1]
    while window and window[-1] & 0xC0 == 0x80:
        window, at = window[:-1], at - 1
    return at


def decode(document: Document, start: int = 0, size: int | None = None) -> Iterator[str]:
    """Text of the document's bytes from `start`, `size` of them or all.

    Raises DataError naming the first byte that is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    at, left = start, size
    # The empty chunk at the end makes the decoder say when the text ends inside a character.
    for chunk in itertools.chain(document.chunks(start), [b""]):
        waiting = len(decoder.getstate()[0])
        chunk = chunk if left is None else chunk[:left]
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            byte = at - waiting + error.start
            raise DataError(
                f"text must be valid UTF-8; {document.name} is not at byte {byte} "
                f"(0x{error.object[error.start]:02x}). Convert the file to UTF-8, for example "
                "with iconv -f ENCODING -t utf-8, where ENCODING is the file's own, such as "
                "latin1, gb18030 or shift_jis; or leave it out of data.source"
            ) from error
        at += len(chunk)
        left = None if left is None else left - len(chunk)
        yield text
        if left == 0:
            break
