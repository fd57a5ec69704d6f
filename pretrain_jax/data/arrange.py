"""Documents cut into raw examples: arrays of places, from lengths alone.

Chunks of a text (`Chunks`), or its inputs and targets (`Texts`); pairs.py draws sentence pairs.
`length` of each is int32 [N], or [N, 2] for two texts.

Chunks of the documents "a b c d e" and "f" for begin = 1, end = 2, raw_length = 4, overlap = 1:

    documents    1 a b c d e 2      1 f 2
    examples     1 a b c
                       c d e 2
                                    1 f 2

A causal model that sees all but the last token of an example and predicts all but the first
predicts every token of every document exactly once.
"""

from functools import partial

import numpy as np

from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError


class Chunks:
    """The raw examples of a token cache.

    Example k is `length[k]` tokens from place `start[k]` of document `document[k]`, counted in
    the document with its begin and end ids. Neighbours share `overlap` tokens; what is left of a
    document and no longer than that predicts nothing and is dropped.

    raw_length   most tokens in an example
    begin, end   ids put around each document; None for none
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        raw_length: int,
        overlap: int,
        begin: int | None = None,
        end: int | None = None,
    ):
        if not 0 <= overlap < raw_length:
            raise ValueError(f"overlap must be in 0 .. raw_length - 1; received {overlap}")
        self.cache = cache
        self.options = {"raw_length": raw_length, "overlap": overlap, "begin": begin, "end": end}
        self.begin = np.array([] if begin is None else [begin], np.int32)
        self.end = np.array([] if end is None else [end], np.int32)
        stride = raw_length - overlap
        sizes = np.diff(cache.offsets) + len(self.begin) + len(self.end)
        counts = np.maximum(-(-(sizes - overlap) // stride), 0)
        self.document = np.repeat(np.arange(len(sizes)), counts)
        first = np.cumsum(counts) - counts
        self.start = (np.arange(len(self.document)) - first[self.document]) * stride
        left = sizes[self.document] - self.start
        self.length = np.minimum(left, raw_length).astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def __getitem__(self, k: int) -> dict[str, np.ndarray]:
        """Raw example k: {"tokens": int32 [n]}, n = length[k].

        With "marks": uint8 [n] where the cache has them; begin and end are marked 0.
        """
        if self.cache.marks is None:
            return {"tokens": self.tokens(k)}
        unmarked = [np.zeros_like(ends, np.uint8) for ends in (self.begin, self.end)]
        return {"tokens": self.tokens(k), "marks": self.cut(k, self.cache.marks, *unmarked)}

    def tokens(self, k: int) -> np.ndarray:
        """int32 [length[k]]: the tokens of raw example k."""
        return self.cut(k, self.cache.tokens, self.begin, self.end)

    def cut(self, k: int, stored: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        document = self.document[k]
        shift = len(begin)
        at, behind = self.cache.offsets[document] - shift, self.cache.offsets[document + 1]
        start = at + self.start[k]
        stop = start + self.length[k]
        text = stored[max(start, at + shift) : min(stop, behind)].astype(begin.dtype)
        if start > at and stop <= behind:
            return text
        return np.concatenate(
            [begin[: max(shift - self.start[k], 0)], text, end[: max(stop - behind, 0)]]
        )

    def __reduce__(self):
        """A worker process counts the examples itself."""
        return partial(Chunks, self.cache, **self.options), ()


class Texts:
    """The raw examples of a token cache of pairs of texts (`data.target_key`): one a document.

    Example k has `length[k]` = (tokens of the inputs, tokens of the targets). A longer text is cut
    at its end; a document that lacks one of the two is dropped.

    inputs, targets   most tokens of each

    Raises DataError where the source marks no targets.
    """

    def __init__(self, cache: TokenCache, *, inputs: int, targets: int):
        if cache.marks is None or cache.marked != "targets":
            raise DataError(
                "text to text needs pairs, a text and its target text; this source has none. Name "
                "the field of a record that holds the target with data.target_key"
            )
        self.cache = cache
        self.options = {"inputs": inputs, "targets": targets}
        filled = np.flatnonzero(np.diff(cache.offsets))
        starts = cache.offsets[filled]
        sizes = cache.offsets[filled + 1] - starts
        found = np.add.reduceat(cache.marks, starts, dtype=np.int64) if len(filled) else sizes
        whole = (found > 0) & (found < sizes)
        self.start = starts[whole]
        self.target = (starts + sizes - found)[whole]
        lengths = np.stack([sizes - found, found], 1)[whole]
        self.length = np.minimum(lengths, [inputs, targets]).astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def __getitem__(self, k: int) -> dict[str, np.ndarray]:
        """{"inputs": int32 [a], "targets": int32 [b]}; (a, b) = length[k]."""
        parts = zip(
            ("inputs", "targets"), (self.start[k], self.target[k]), self.length[k], strict=True
        )
        return {
            name: self.cache.tokens[at : at + count].astype(np.int32) for name, at, count in parts
        }

    def __reduce__(self):
        """A worker process finds the texts itself."""
        return partial(Texts, self.cache, **self.options), ()
