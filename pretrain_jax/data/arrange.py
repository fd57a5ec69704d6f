"""Documents cut into raw examples: arrays of places, from document lengths alone.

Shown with two documents "a b c d e" and "f", begin = 1, end = 2, raw_length = 4, overlap = 1:

    documents    1 a b c d e 2      1 f 2
    examples     1 a b c
                       c d e 2
                                    1 f 2

A causal model that sees all but the last token of an example and predicts all but the first
predicts every token of every document exactly once.
"""

import numpy as np

from pretrain_jax.data.cache import TokenCache


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

    def __getitem__(self, k: int) -> np.ndarray:
        """int32 [length[k]]: the tokens of example k."""
        document = self.document[k]
        shift = len(self.begin)
        at, end = self.cache.offsets[document] - shift, self.cache.offsets[document + 1]
        start = at + self.start[k]
        stop = start + self.length[k]
        text = self.cache.tokens[max(start, at + shift) : min(stop, end)].astype(np.int32)
        if start > at and stop <= end:
            return text
        return np.concatenate(
            [self.begin[: max(shift - self.start[k], 0)], text, self.end[: max(stop - end, 0)]]
        )

    def __reduce__(self):
        """A worker process counts the examples itself."""
        return rebuild, (self.cache, self.options)


def rebuild(cache: TokenCache, options: dict) -> Chunks:
    return Chunks(cache, **options)
