"""Raw examples from conversations: one each, whose answers end with the tokenizer's end id.

A conversation that is too long is truncated at its end.
"""

from functools import partial

import numpy as np

from pretrain_jax.data.annotations import CONVERSATION
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Ragged, RowSplits, gather_slices


class Conversations:
    """The conversations of a token cache.

    Example k has `length[k]` tokens and ends of answers, int32 [N]. `cut` is the number of
    truncated examples, `unanswered` that of examples that lose all answers.

    tokens   maximum length of an example

    Raises DataError if the cache has no conversations.
    """

    def __init__(self, cache: TokenCache, *, tokens: int):
        if cache.annotations is None or cache.annotation_kind != CONVERSATION:
            raise DataError("instruct needs a source of conversations; this one has none")
        self.cache, self.annotations = cache, cache.annotations
        self.options = {"tokens": tokens}
        self.start, sizes = cache.offsets[:-1], np.diff(cache.offsets)
        ends = np.concatenate([[0], np.cumsum(answer_ends(self.annotations, cache.offsets))])
        answers = ends[cache.offsets[1:]] - ends[cache.offsets[:-1]]
        self.length = np.minimum(sizes + answers, tokens).astype(np.int32)
        self.cut = int(np.count_nonzero(self.length < sizes + answers))
        begins = first_answers(self.annotations, cache.offsets)
        self.unanswered = int(np.count_nonzero(begins >= self.length))
        if len(self.length) and self.unanswered == len(self.length):
            raise DataError(
                f"a conversation must have an answer within {tokens} tokens; none of these "
                f"{len(self.length):,} has one. Make the rows longer (data.seq_len), or use "
                "shorter conversations"
            )

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"tokens": int32, "annotations": uint8}, length[k] of each: 0 for a token that is only
        read, 1 for one of an answer, 2 for its end, whose token is 0 here."""
        sizes = self.cache.offsets[numbers + 1] - self.start[numbers]
        tokens = gather_slices(self.cache.tokens, self.start[numbers], sizes)
        marks = gather_slices(self.annotations, self.start[numbers], sizes).values
        splits = tokens.splits
        ends = answer_ends(marks, np.append(splits.starts, splits.total)).nonzero()[0]
        at = ends + 1
        longer = RowSplits(splits.sizes + splits.take(ends).sizes)
        values = Ragged(np.insert(tokens.values, at, 0).astype(np.int32), longer)
        annotated = Ragged(np.insert((marks > 0).astype(np.uint8), at, 2), longer)
        kept = longer.offsets < longer.broadcast(self.length[numbers])
        return {"tokens": values.boolean_mask(kept), "annotations": annotated.boolean_mask(kept)}

    def __reduce__(self):
        """Pickles the options; a worker process computes the examples again."""
        return partial(Conversations, self.cache, **self.options), ()


def answer_ends(marks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """bool [T]: the last tokens of the answers, whose tokens have the annotations 1 and 2 in turn.

    marks: uint8 [T]. offsets: int64 [N + 1], where conversations start in them.

    >>> answer_ends(np.array([0, 1, 1, 2, 0, 1]), np.array([0, 6])).nonzero()[0]
    array([2, 3, 5])
    """
    marks = np.asarray(marks)
    goes_on = np.append(marks[1:] == marks[:-1], False)
    goes_on[offsets[1:][offsets[1:] > 0] - 1] = False  # the next conversation may start with one
    return (marks > 0) & ~goes_on


def first_answers(marks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 [N]: the number of tokens before the first answer of each conversation.

    >>> first_answers(np.array([0, 0, 1, 1, 2]), np.array([0, 4, 5]))
    array([2, 0])
    """
    at = np.append(np.flatnonzero(marks), len(marks))
    return at[np.searchsorted(at, offsets[:-1])] - offsets[:-1]
