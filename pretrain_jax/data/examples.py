"""Raw examples: the parts of the documents that examples are made from.

`DocumentChunks` are chunks of each document, `CorpusChunks` are chunks of all documents as one
text, `TextPairs` are pairs of inputs and targets; sentence_pairs.py has sentence pairs. They are
computed from lengths alone. `length` is int32 [N], or [N, 2] for two texts.

Chunks of the documents "a b c d e" and "f" for begin = 1, end = 2, raw_length = 4, overlap = 1:

    documents    1 a b c d e 2      1 f 2
    examples     1 a b c
                       c d e 2
                                    1 f 2

A causal model that reads all but the last token of an example and predicts all but the first token
predicts every token of every document exactly once.
"""

from functools import partial

import numpy as np

from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Ragged, RowSplits, gather_slices
from pretrain_jax.rounding import ceil_div


class DocumentChunks:
    """Chunks of the documents of a token cache.

    Example k is `length[k]` tokens from position `start[k]` of document `document[k]`, counted with
    the begin and end ids of the document. Consecutive chunks share `overlap` tokens. A remainder of
    at most `overlap` tokens would predict nothing and is dropped.

    raw_length   maximum tokens per example
    begin, end   ids added to each document; None for no id
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
        counts = np.maximum(ceil_div(sizes - overlap, stride), 0)
        self.document = np.repeat(np.arange(len(sizes)), counts)
        first = np.cumsum(counts) - counts
        self.start = (np.arange(len(self.document)) - first[self.document]) * stride
        left = sizes[self.document] - self.start
        self.length = np.minimum(left, raw_length).astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """The raw examples with these numbers, int [E]: {"tokens": int32, length[k] of each}.

        "annotations" is uint8 with the same splits, if the cache has them; 0 for begin and end.
        """
        splits = RowSplits(self.length[numbers])
        document = self.document[numbers]
        first, stop = self.cache.offsets[document], self.cache.offsets[document + 1]
        place = splits.offsets + splits.broadcast(
            self.start[numbers] - len(self.begin)
        )  # in the text
        before, after = place < 0, place >= splits.broadcast(stop - first)
        at = place + splits.broadcast(first)
        ends = before | after
        at[ends] = 0
        taken = {"tokens": Ragged(self.cache.tokens[at].astype(np.int32), splits)}
        taken["tokens"].values[before] = self.begin
        taken["tokens"].values[after] = self.end
        if self.cache.annotations is not None:
            taken["annotations"] = Ragged(
                np.where(ends, np.uint8(0), self.cache.annotations[at]), splits
            )
        return taken

    def __reduce__(self):
        """Pickles the options; a worker process computes the examples again."""
        return partial(DocumentChunks, self.cache, **self.options), ()


class CorpusChunks:
    """Chunks of all documents of a token cache as one text, as in GPT-2 and GPT-3.

    The documents are concatenated in the order of the corpus, each with its begin and end ids.
    Example k is `length[k]` tokens of this text. Consecutive chunks share one token, so every token
    except the first is predicted once. The documents "a b c" and "d e" for raw_length = 4:

        begin = 1, end = 2     1 a b c | c 2 1 d | d e 2
        begin = end = 1        1 a b c | c 1 d e | e 1       a single id between documents
        no begin, end = 2      a b c 2 | 2 d e 2
    """

    def __init__(self, cache: TokenCache, *, raw_length: int, begin: int | None, end: int | None):
        if raw_length < 2 or (begin is None and end is None):
            raise ValueError(
                "chunks that cross documents need raw_length of at least 2 and a begin or an end "
                f"id; received raw_length={raw_length}, begin={begin}, end={end}"
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
        splits = RowSplits(self.length[numbers])
        place = splits.offsets + splits.broadcast(self.first[numbers])
        last = len(self.starts) - 2
        document = np.minimum(self.starts.searchsorted(place, side="right") - 1, last)
        inside = place - self.starts[document] - len(self.begin)
        first, stop = self.cache.offsets[document], self.cache.offsets[document + 1]
        before, after = inside < 0, inside >= stop - first
        at = first + inside
        at[before | after] = 0
        tokens = self.cache.tokens[at].astype(np.int32)
        tokens[before] = self.begin
        tokens[after] = self.end
        return {"tokens": Ragged(tokens, splits)}

    def __reduce__(self):
        """Pickles the options; a worker process computes the examples again."""
        return partial(CorpusChunks, self.cache, **self.options), ()


class TextPairs:
    """Pairs of inputs and targets from a token cache (`data.target_key`), one per document.

    Example k has `length[k]` = (tokens of the inputs, tokens of the targets). Longer texts are
    truncated at the end. A document without inputs or without targets is dropped; `document` is
    int64 [N], the numbers of the others. `cut` is the number of pairs with a truncated text.

    inputs, targets   maximum tokens of each

    Raises DataError if the source has no targets.
    """

    def __init__(self, cache: TokenCache, *, inputs: int, targets: int):
        if cache.annotations is None or cache.annotation_kind != "targets":
            raise DataError(
                "a text-to-text objective needs pairs of a text and its target; this source has "
                "none. Set data.target_key to the field of a record that holds the target"
            )
        self.cache = cache
        self.options = {"inputs": inputs, "targets": targets}
        nonempty = np.flatnonzero(np.diff(cache.offsets))
        starts = cache.offsets[nonempty]
        sizes = cache.offsets[nonempty + 1] - starts
        target_sizes = (
            np.add.reduceat(cache.annotations, starts, dtype=np.int64) if len(nonempty) else sizes
        )
        is_pair = (target_sizes > 0) & (target_sizes < sizes)
        self.document = nonempty[is_pair]
        self.start = starts[is_pair]
        self.target = (starts + sizes - target_sizes)[is_pair]
        lengths = np.stack([sizes - target_sizes, target_sizes], 1)[is_pair]
        self.length = np.minimum(lengths, [inputs, targets]).astype(np.int32)
        self.cut = int(np.count_nonzero((self.length < lengths).any(1)))

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"inputs": int32, a of each, "targets": int32, b of each}; (a, b) = length[k]."""
        inputs, targets = self.length[numbers].T
        return {
            "inputs": gather_slices(self.cache.tokens, self.start[numbers], inputs),
            "targets": gather_slices(self.cache.tokens, self.target[numbers], targets),
        }

    def __reduce__(self):
        """Pickles the options; a worker process computes the examples again."""
        return partial(TextPairs, self.cache, **self.options), ()
