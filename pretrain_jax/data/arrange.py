"""Documents cut into raw examples: arrays of places, from lengths alone.

Chunks of a text (`Chunks`) or of all texts as one (`Joined`), or a text's inputs and targets
(`Texts`); pairs.py draws sentence pairs.
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
from pretrain_jax.ragged import Fields, Parts, Ragged, stretches


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
        self.begin, self.end = ([] if token is None else [token] for token in (begin, end))
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

    def take(self, numbers: np.ndarray) -> Fields:
        """The raw examples with these numbers, int [E]: {"tokens": int32, length[k] of each}.

        With "marks": uint8 alike where the cache has them; begin and end are marked 0.
        """
        parts = Parts(self.length[numbers])
        document = self.document[numbers]
        first, behind = self.cache.offsets[document], self.cache.offsets[document + 1]
        place = parts.place + parts.each(self.start[numbers] - len(self.begin))  # in the text
        before, after = place < 0, place >= parts.each(behind - first)
        at = place + parts.each(first)
        ends = before | after
        at[ends] = 0
        taken = {"tokens": Ragged(self.cache.tokens[at].astype(np.int32), parts)}
        taken["tokens"].values[before] = self.begin
        taken["tokens"].values[after] = self.end
        if self.cache.marks is not None:
            taken["marks"] = Ragged(np.where(ends, np.uint8(0), self.cache.marks[at]), parts)
        return taken

    def __reduce__(self):
        """A worker process counts the examples itself."""
        return partial(Chunks, self.cache, **self.options), ()


class Joined:
    """The raw examples of a token cache whose documents are one text, as GPT-2 and GPT-3 read them.

    The documents stand one behind the other in the order of the corpus, each with its begin and end
    ids. Example k is `length[k]` tokens of this text; neighbours share one, so that each token but
    the very first is predicted once. The documents "a b c" and "d e" for raw_length = 4:

        begin = 1, end = 2     1 a b c | c 2 1 d | d e 2
        begin = end = 1        1 a b c | c 1 d e | e 1       one id between two documents
        no begin, end = 2      a b c 2 | 2 d e 2
    """

    def __init__(self, cache: TokenCache, *, raw_length: int, begin: int | None, end: int | None):
        if raw_length < 2 or (begin is None and end is None):
            raise ValueError(
                "documents are joined in examples of 2 tokens or more, by a begin or an end id; "
                f"received raw_length={raw_length}, begin={begin}, end={end}"
            )
        self.cache = cache
        self.options = {"raw_length": raw_length, "begin": begin, "end": end}
        self.begin, self.end = ([] if token is None else [token] for token in (begin, end))
        between = 1 if begin == end else len(self.begin) + len(self.end)
        documents = len(cache.offsets) - 1
        self.starts = cache.offsets + np.arange(documents + 1) * between
        total = int(self.starts[-1]) + (begin == end)
        stride = raw_length - 1
        self.first = np.arange(0, max(total - 1, 0), stride)
        self.length = np.minimum(total - self.first, raw_length).astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """The raw examples with these numbers, int [E]: {"tokens": int32, length[k] of each}."""
        parts = Parts(self.length[numbers])
        place = parts.place + parts.each(self.first[numbers])
        last = len(self.starts) - 2
        document = np.minimum(self.starts.searchsorted(place, side="right") - 1, last)
        inside = place - self.starts[document] - len(self.begin)
        first, behind = self.cache.offsets[document], self.cache.offsets[document + 1]
        before, after = inside < 0, inside >= behind - first
        at = first + inside
        at[before | after] = 0
        tokens = self.cache.tokens[at].astype(np.int32)
        tokens[before] = self.begin
        tokens[after] = self.end
        return {"tokens": Ragged(tokens, parts)}

    def __reduce__(self):
        """A worker process counts the examples itself."""
        return partial(Joined, self.cache, **self.options), ()


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

    def take(self, numbers: np.ndarray) -> Fields:
        """{"inputs": int32, a of each, "targets": int32, b of each}; (a, b) = length[k]."""
        inputs, targets = self.length[numbers].T
        return {
            "inputs": stretches(self.cache.tokens, self.start[numbers], inputs),
            "targets": stretches(self.cache.tokens, self.target[numbers], targets),
        }

    def __reduce__(self):
        """A worker process finds the texts itself."""
        return partial(Texts, self.cache, **self.options), ()
