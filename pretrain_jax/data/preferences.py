"""Raw examples from preferences: a prompt with two answers, the chosen and the rejected one.

A prompt that is too long keeps its end, an answer its beginning. With room for 3 tokens of the
prompt and 2 of an answer:

    prompt "a b c d", chosen "r s t", rejected "u"        b c d | r s        b c d | u
"""

from functools import cached_property, partial

import numpy as np

from pretrain_jax.data.cache import TokenCache
from pretrain_jax.data.records import annotations_of, split_at_annotations
from pretrain_jax.ragged import Fields, Ragged, RowSplits, gather_slices

TEXTS = 3


class Preferences:
    """The three texts of each record of a token cache.

    Example k has `length[k]` tokens of its prompt, its chosen and its rejected answer: int32
    [N, 3]. `cut` is the number of examples with a truncated text, `equal` that of examples whose
    two answers have the same tokens.

    inputs, targets   maximum tokens of a prompt and of an answer
    reference         float32 [N, 2]: the log-probabilities of both answers under the reference
                      model; None = not computed yet

    Raises DataError if the cache has no records.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        inputs: int,
        targets: int,
        reference: np.ndarray | None = None,
    ):
        self.cache = cache
        self.options = {"inputs": inputs, "targets": targets, "reference": reference}
        start, sizes = split_at_annotations(annotations_of(cache), cache.offsets, TEXTS)
        self.length = np.minimum(sizes, [inputs, targets, targets]).astype(np.int32)
        self.start = start
        self.start[:, 0] += sizes[:, 0] - self.length[:, 0]
        self.cut = int(np.count_nonzero((self.length < sizes).any(1)))
        unknown = np.full((len(sizes), TEXTS - 1), np.nan, np.float32)
        self.reference = unknown if reference is None else reference

    def __len__(self) -> int:
        return len(self.length)

    @cached_property
    def equal(self) -> int:
        same = np.flatnonzero(self.length[:, 1] == self.length[:, 2])
        one, other = (
            gather_slices(self.cache.tokens, self.start[same, at], self.length[same, at])
            for at in (1, 2)
        )
        differ = np.zeros(len(same), bool)
        differ[one.splits.row_ids[one.values != other.values]] = True
        return int(len(same) - differ.sum())

    def with_reference(self, reference: np.ndarray) -> "Preferences":
        """The same examples with these log-probabilities, float32 [N, 2]."""
        return Preferences(self.cache, **{**self.options, "reference": reference})

    def take(self, numbers: np.ndarray) -> Fields:
        """{"inputs": int32, "targets": int32, "reference": float32}: two rows of each for every
        example, first the chosen answer. Unknown references are NaN."""
        starts, lengths = self.start[numbers], self.length[numbers]
        tokens, prompt, answers = self.cache.tokens, [0, 0], [1, 2]
        values = self.reference[numbers].ravel()
        return {
            "inputs": gather_slices(tokens, starts[:, prompt].ravel(), lengths[:, prompt].ravel()),
            "targets": gather_slices(
                tokens, starts[:, answers].ravel(), lengths[:, answers].ravel()
            ),
            "reference": Ragged(values, RowSplits(np.ones(len(values), np.int64))),
        }

    def __reduce__(self):
        """Pickles the options; a worker process computes the examples again."""
        return partial(Preferences, self.cache, **self.options), ()
