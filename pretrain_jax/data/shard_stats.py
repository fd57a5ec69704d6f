"""One pass over the documents of a shard: their sizes, their hashes, and whether they are text."""

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pretrain_jax.data.decoding import decode_document, tail_start
from pretrain_jax.data.sources import Shard
from pretrain_jax.errors import DataError

NULS = 1000
"""A file may have one NUL per 1000 bytes."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardStats:
    """Sizes and hashes of the N documents of a shard, from one pass over it."""

    sizes: np.ndarray
    """int64 [N]: UTF-8 bytes, including switches (switches.py)."""
    plain_sizes: np.ndarray
    """int64 [N]: UTF-8 bytes of the text alone (`Document.plain_text`)."""
    hashes: np.ndarray
    """uint64 [N]: hashes of the text alone, so that equal texts are in the same split."""


def map_in_threads(function, *items):
    """`map` in threads, as a list. Hashing, decompression and reading release the GIL."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, *items))


def scan_shard(shard: Shard) -> ShardStats:
    """Reads a shard once and checks that it is UTF-8."""
    sizes, plain_sizes, hashes, nuls = [], [], [], 0
    for document in shard.documents():
        digest, size = hashlib.blake2b(document.plain_text or b"", digest_size=8), 0
        for text in decode_document(document):
            data = text.encode()
            size += len(data)
            nuls += data.count(0)
            if document.plain_text is None:
                digest.update(data)
        sizes.append(size)
        plain_sizes.append(size if document.plain_text is None else len(document.plain_text))
        hashes.append(int.from_bytes(digest.digest(), "little"))
    if nuls * NULS > sum(sizes):
        raise DataError(
            f"text may have at most one NUL per {NULS} bytes; {shard.name} has {nuls} in "
            f"{sum(sizes)} bytes. It may be another kind of file, or have another encoding. "
            "Convert it, or leave it out"
        )
    if nuls:
        log.warning("%s has %d NUL characters in its text; they are kept", shard.name, nuls)
    return ShardStats(
        np.array(sizes, np.int64), np.array(plain_sizes, np.int64), np.array(hashes, np.uint64)
    )


def shard_tail_starts(shard: Shard, table: ShardStats) -> np.ndarray:
    """int64 [N]: the byte where the tail of each document starts."""
    pairs = zip(shard.documents(), table.plain_sizes.tolist(), strict=True)
    return np.array([tail_start(document, int(0.9 * size)) for document, size in pairs], np.int64)
