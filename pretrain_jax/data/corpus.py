"""The documents of a source, their training and validation split, and their text in blocks."""

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from operator import methodcaller
from typing import Any

import numpy as np

from pretrain_jax import registry, switches
from pretrain_jax.data import annotations, sources
from pretrain_jax.data.decoding import decode_document
from pretrain_jax.data.shard_stats import (
    ShardStats,
    map_in_threads,
    scan_shard,
    shard_tail_starts,
)
from pretrain_jax.data.sources import Columns, Document, TextSource
from pretrain_jax.data.text_blocks import split_into_blocks
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.progress import progress

SPLITS = ("train", "valid")
POLICIES = ("auto", "hash", "tail", "all")
HELD_OUT = 20  # by hash, one document in 20 is validation text
FEW = 100  # with fewer documents, "auto" holds out the tail of every document
BLOCK_CHARACTERS = 1 << 18  # characters of a document in memory, tokenized in one call
log = logging.getLogger(__name__)


class Corpus:
    """The documents of a source and their split into "train" and "valid".

    Data is read only when it is needed. `fingerprint` hashes the bytes of the source; everything
    else first reads all documents once and checks that they are UTF-8.
    """

    def __init__(
        self,
        source: TextSource,
        *,
        name: str,
        split: str = "auto",
        validation: TextSource | None = None,
    ):
        self.name = name
        self.source = source
        self.policy = "files" if validation else split
        self.annotation_kind = source.annotation_kind
        self.has_separate_texts = source.annotation_kind in annotations.SEPARATE
        self.has_places = source.has_places
        self.peers: list[Corpus] = []
        self.shards = [*source.shards, *(validation.shards if validation else ())]

    def align_split_with(self, others: Iterable["Corpus"]) -> None:
        """Makes this corpus hold out the same text as `others`, which share some of its files.

        Only the policy "auto" needs this: it depends on all documents. Every other policy decides
        for each document separately.
        """
        others = [other for other in others if other is not self]
        if self.policy == "auto" and not self.has_separate_texts:
            if any(other.has_separate_texts for other in others):
                self.policy = "hash"
            self.peers = [other for other in others if other.files != self.files]

    @property
    def files(self) -> list[str]:
        """The names of the shards."""
        return [shard.name for shard in self.shards]

    @cached_property
    def digests(self) -> list[str]:
        """A digest of each shard: of its bytes and of the record fields that are read."""
        return map_in_threads(methodcaller("digest"), self.shards)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the bytes of the source, in order, and of the split; not of file names."""
        by_text = self.has_separate_texts or (
            self.annotation_kind == "spans" and self.policy != "hash"
        )
        with progress(f"reading {self.name}"):
            digests = self.digests
        by = {"records": " by all texts"}.get(self.annotation_kind, " by text")
        parts = [self.policy + (by if by_text else ""), *digests]
        if self.policy == "files":
            parts.insert(0, str(len(self.source.shards)))
        if self.policy == "auto":
            parts += sorted(digest for peer in self.peers for digest in peer.digests)
        joined = hashlib.sha256("\n".join(parts).encode())
        return f"{self.source.label}-{joined.hexdigest()}"

    @cached_property
    def shard_stats(self) -> list[ShardStats]:
        with progress(f"checking the text of {self.name}"):
            tables = map_in_threads(scan_shard, self.shards)
        if not any(table.sizes.any() for table in tables):
            raise DataError(
                f"data.source must hold text; the {len(self.shards)} file(s) of {self.name} "
                "have no text. Name other files"
            )
        return tables

    @cached_property
    def split_method(self) -> str:
        """How validation text is held out: "hash" (complete documents), "tail", "files" (those of
        data.validation) or "all"."""
        chosen = self.policy
        if chosen == "all":
            return chosen
        if chosen == "auto" and self.has_separate_texts:
            chosen = "hash"  # a tail would separate inputs from their targets
        if chosen == "auto":
            chosen = "hash" if all(c.has_enough_documents for c in (self, *self.peers)) else "tail"
        for split in SPLITS:
            if not sum(part.sum() for part in self.sizes(split, chosen)):
                fix = (
                    "Add records, or name others with data.validation"
                    if self.has_separate_texts
                    else "Add text, or use data.split=auto"
                )
                how = "data.validation" if chosen == "files" else f"data.split={chosen}"
                raise DataError(
                    f"neither split may be empty; with {how}, {self.name} has no "
                    f"text in the split {split!r}. {fix}"
                )
        if chosen != "files":
            what = (
                f"1 document in {HELD_OUT}"
                if chosen == "hash"
                else "the last tenth of each document"
            )
            log.info("%s: validation text is %s (data.split=%s)", self.name, what, chosen)
        return chosen

    @cached_property
    def has_enough_documents(self) -> bool:
        """Whether there are enough documents that a split by hash leaves none empty."""
        hashes = np.concatenate([table.hashes[table.plain_sizes > 0] for table in self.shard_stats])
        held_out = int(np.count_nonzero(hashes % HELD_OUT == 0))
        return len(hashes) >= FEW and 0 < held_out < len(hashes)

    @cached_property
    def tail_starts(self) -> list[np.ndarray]:
        """For each shard, int64 [N]: the bytes of each document before its last tenth."""
        tables = self.shard_stats
        with progress(f"holding out text of {self.name}"):
            return map_in_threads(shard_tail_starts, self.shards, tables)

    def sizes(self, split: str, method: str) -> list[np.ndarray]:
        """For each shard, int64 [N]: the bytes of each document in a split."""
        if method == "tail":
            tables = zip(self.shard_stats, self.tail_starts, strict=True)
            return [cuts if split == "train" else table.sizes - cuts for table, cuts in tables]
        if method == "all":
            return [table.sizes * (split == "valid") for table in self.shard_stats]
        if method == "files":
            first = len(self.source.shards)
            return [
                table.sizes * ((number >= first) == (split == "valid"))
                for number, table in enumerate(self.shard_stats)
            ]
        return [
            t.sizes * ((t.hashes % HELD_OUT == 0) == (split == "valid")) for t in self.shard_stats
        ]

    def bytes(self, split: str) -> int:
        """UTF-8 bytes of the split "train" or "valid", including switches."""
        return int(sum(part.sum() for part in self.sizes(split, self.split_method)))

    def count(self, split: str) -> int:
        """The number of documents with text in the split "train" or "valid"."""
        return int(sum(np.count_nonzero(part) for part in self.sizes(split, self.split_method)))

    def documents(self, split: str) -> Iterator[Iterator[str]]:
        """The documents of "train" or "valid", each as an iterator of blocks (text_blocks.py).

        Consume the blocks of a document before the next document.
        """
        parts = self.sizes(split, self.split_method)
        tails = (split, self.split_method) == ("valid", "tail")
        begins = self.tail_starts if tails else [np.zeros_like(sizes) for sizes in parts]
        for shard, starts, sizes in zip(self.shards, begins, parts, strict=True):
            for document, start, size in zip(shard.documents(), starts, sizes, strict=True):
                if size:
                    texts = decode_document(document, int(start), int(size))
                    blocks = split_into_blocks(texts, BLOCK_CHARACTERS)
                    yield only_block(blocks, document.name) if self.has_places else blocks

    def records(self, split: str) -> Iterator[Document]:
        """The records of "train" or "valid", in the order of `documents`."""
        parts = self.sizes(split, self.split_method)
        for shard, sizes in zip(self.shards, parts, strict=True):
            if sizes.any():
                pairs = zip(shard.documents(), sizes, strict=True)
                yield from (document for document, size in pairs if size)

    def name_of(self, split: str, number: int) -> str:
        """The name of a record of "train" or "valid", for messages: "a.tsv line 7"."""
        return next(itertools.islice(self.records(split), number, None)).name

    def labels(self, split: str) -> list[str | None]:
        """The label of each record of "train" or "valid"."""
        return [document.label for document in self.records(split)]

    @property
    def texts_per_record(self) -> int:
        """The largest number of texts of a training record, or, without training, of any."""
        split = "valid" if self.policy == "all" else "train"
        counts = (
            len(switches.SWITCHES.findall("".join(blocks))) for blocks in self.documents(split)
        )
        return 1 + max(counts)

    def texts(self, split: str) -> Iterator[str]:
        """The text of "train" or "valid" in blocks, to train a tokenizer."""
        blocks = itertools.chain.from_iterable(self.documents(split))
        if self.has_separate_texts:
            return (
                text for block in blocks for _, text in switches.split_at_switches(block) if text
            )
        return map(switches.strip_switches, blocks) if self.annotation_kind else blocks


def open_corpus(
    source: str,
    *,
    validation: str = "",
    split: str = "auto",
    text_key: str = "text",
    spans_key: str = "",
    target_key: str = "",
    columns: Columns | None = None,
) -> Corpus:
    """The corpus of `data.source`; data/sources/__init__.py describes the format.

    validation   another source, whose text is all of the validation text; then none of `source` is
                 held out
    split        which text is validation text. "hash": complete documents, 1 in 20, by a hash of
                 their content. "tail": the last tenth of each document; for a single ASCII file
                 of n bytes, the bytes from int(0.9 * n) on. "auto": "tail" if there are fewer
                 than 100 documents or a hash would leave a split empty, else "hash"; always
                 "hash" with `target_key`. "all": all text, to score text that no model was
                 trained on
    text_key     the field of a record that holds its text
    spans_key    the field that holds the salient spans of the text (`sources.Keys`)
    target_key   the field that holds the target, for which the text is the input
    columns      the columns of records, instead of the three fields

    Raises ConfigError, InputMissing; on reading, DataError.
    """
    registry.check_name(split, POLICIES, "data.split")
    if validation and split != "auto":
        raise ConfigError(
            "data.split holds out text of data.source, and data.validation names other validation "
            f"text; received data.split={split} and data.validation={validation!r}. Leave one out"
        )
    if (target_key or (columns and columns.kind != "text")) and split == "tail":
        raise ConfigError(
            "data.split=tail splits documents, but a pair or a record must stay together; received "
            f"data.split=tail{target_key and f' with data.target_key={target_key!r}'}. Use "
            "data.split=hash"
        )
    keys: dict[str, Any] = {"text_key": text_key, "spans_key": spans_key, "target_key": target_key}
    opened = sources.open_source(source, **keys, columns=columns)
    other = sources.open_source(validation, **keys, columns=columns) if validation else None
    return Corpus(opened, name=source, split=split, validation=other)


def only_block(blocks: Iterator[str], name: str) -> Iterator[str]:
    """The block of a document that has one. Raises DataError if it has more."""
    yield next(blocks)
    if next(blocks, None) is not None:
        raise DataError(
            "a record whose label has places in its texts may have at most "
            f"{BLOCK_CHARACTERS} characters; {name} has more. Shorten it, or leave it out"
        )
