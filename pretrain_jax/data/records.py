"""Raw examples from records with labels: one text or a pair, whole, one example per record.

Nothing is dropped and nothing is cut in two: a task is scored on every record once. Texts that are
too long are truncated as in BERT (google-research/bert run_classifier.py): a token at a time leaves
the end of the longer text, of the second if both are equally long. With room for 5 tokens:

    "a b c d" and "r s"        a b c | r s
    "a b c d" and "r s t u"    a b c | r s
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Ragged, gather_slices

ReadLabels = Callable[[list[str | None]], Ragged]


class Records:
    """One or two texts of each record of a token cache, with its label.

    Example k has `length[k]` tokens: int32 [N, 1] for one text, [N, 2] for a pair.

    tokens        maximum tokens of the texts together
    texts         texts of a record, 1 or 2
    read_labels   read_labels(labels as text [N], None for no label) -> one row of numbers for each
                  record, empty without a label. Raises DataError

    Raises DataError if the cache has no records.
    """

    def __init__(self, cache: TokenCache, *, tokens: int, texts: int, read_labels: ReadLabels):
        self.cache = cache
        self.options = {"tokens": tokens, "texts": texts, "read_labels": read_labels}
        self.labels = read_labels(cache.labels)
        self.start = cache.offsets[:-1]
        first, second = text_sizes(cache).T
        self.second = self.start + first
        kept = np.minimum(first, np.maximum(tokens - second, -(-tokens // 2)))
        lengths = np.stack([kept, np.minimum(second, tokens - kept)], 1)
        self.length = lengths[:, :texts].astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"first": int32, a of each, "labels": its numbers}, and for pairs {"second": int32, b of
        each}; (a, b) = length[k]."""
        lengths, tokens = self.length[numbers].T, self.cache.tokens
        taken = {"first": gather_slices(tokens, self.start[numbers], lengths[0])}
        if len(lengths) > 1:
            taken["second"] = gather_slices(tokens, self.second[numbers], lengths[1])
        rows = self.labels.splits
        labels = gather_slices(
            self.labels.values, rows.starts[numbers], rows.sizes[numbers], self.labels.values.dtype
        )
        return {**taken, "labels": labels}

    def __reduce__(self):
        """Pickles the options; a worker process reads the labels again."""
        return partial(Records, self.cache, **self.options), ()


def text_sizes(cache: TokenCache) -> np.ndarray:
    """int64 [N, 2]: the tokens of the first text of each record, and of all others together.

    Raises DataError if the cache has no records.
    """
    if cache.annotations is None or cache.annotation_kind != "records":
        raise DataError("an objective with labels needs a source of records; this one has none")
    in_others = np.concatenate([[0], np.cumsum(cache.annotations > 0, dtype=np.int64)])
    others = in_others[cache.offsets[1:]] - in_others[cache.offsets[:-1]]
    return np.stack([np.diff(cache.offsets) - others, others], 1)
