"""Raw examples from questions about contexts: windows of each context, as in BERT.

A window has the start of the question and a part of the context; the windows of a context advance
by `stride` tokens until one has its end (google-research/bert run_squad.py). With room for 8
tokens, of which 3 are the question's, and a stride of 3, the context a .. j has the windows

    a b c d e        d e f g h        g h i j

An answer is in a window that has all of its tokens. Of the windows that have a token, it counts in
the one with the most context on both sides: d in the first, e in the second.
"""

from functools import partial

import numpy as np

from pretrain_jax.data.cache import TokenCache
from pretrain_jax.data.places import find_tokens
from pretrain_jax.data.records import ReadLabels, text_sizes
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Ragged, RowSplits, gather_slices
from pretrain_jax.rounding import ceil_div


class Windows:
    """The windows of each record (question, context) of a token cache, with the answer.

    Window w belongs to record `record[w]`. It has `length[w]` = (tokens of the question, tokens of
    the context), int32 [W, 2], and its part of the context begins with token `first[w]`.

    tokens            maximum tokens of a window
    question_length   maximum tokens of the question, below `tokens`; its end is cut off
    stride            tokens by which windows advance; at most the context of a window
    read_labels       read_labels(labels as text [N], None for no label) -> for each record the
                      characters [start, end) of its answer in the context, (-1, -1) without an
                      answer, an empty row without a label. Raises DataError

    lost   records with an answer that no window has: their windows have no label

    Raises DataError if a context has no tokens.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        tokens: int,
        question_length: int,
        stride: int,
        read_labels: ReadLabels,
    ):
        self.cache = cache
        self.options = {"tokens": tokens, "question_length": question_length, "stride": stride,
                        "read_labels": read_labels}  # fmt: skip
        questions, contexts = text_sizes(cache).T
        check_contexts(cache, np.stack([questions, contexts], 1))
        self.context = cache.offsets[:-1] + questions
        question = np.minimum(questions, question_length)
        room = tokens - question
        step = np.minimum(room, stride)
        self.rows = RowSplits(1 + ceil_div(np.maximum(contexts - room, 0), step))
        self.record, broadcast = self.rows.row_ids, self.rows.broadcast
        self.first = self.rows.offsets * broadcast(step)
        size = np.minimum(broadcast(contexts) - self.first, broadcast(room))
        self.length = np.stack([broadcast(question), size], 1).astype(np.int32)
        self._place_answers(read_labels(cache.labels), np.stack([questions, contexts], 1))

    def _place_answers(self, labels: Ragged, sizes: np.ndarray) -> None:
        """The answer in each window: int32 [W, 2], its first and last token in the window's part
        of the context, or -1 where it has none."""
        assert self.cache.places is not None
        known = labels.splits.sizes > 0
        spans = np.full((len(known), 2), -1)
        spans[known] = labels.values.reshape(-1, 2)
        has_answer = spans[:, 0] >= 0
        answered = np.flatnonzero(has_answer)
        found = np.tile([1, 0], (len(known), 1))
        found[answered] = find_tokens(
            self.cache.places, RowSplits(sizes.ravel()), spans[answered], 2 * answered + 1
        )
        at = (found - self.context[:, None])[self.record] - self.first[:, None]
        inside = self.rows.broadcast(has_answer & (found[:, 0] <= found[:, 1]))
        inside &= (at[:, 0] >= 0) & (at[:, 1] < self.length[:, 1])
        held = np.bincount(self.record[inside], minlength=len(known)) > 0
        self.lost = int(np.count_nonzero(has_answer & ~held))
        self.known = self.rows.broadcast(known & (held | ~has_answer))
        self.answer = np.where(inside[:, None], at, -1).astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"first": int32, a of each, the question; "second": int32, b of each, the context;
        "start" and "end": int32, one each, the first and last token of the answer in the context
        of the window, or -1; "known": float32, one each, whether there is a label};
        (a, b) = length[k]."""
        (a, b), record = self.length[numbers].T, self.record[numbers]
        tokens, starts = self.cache.tokens, self.cache.offsets[record]
        one = RowSplits(np.ones(len(numbers), np.int64))
        start, end = self.answer[numbers].T
        return {
            "first": gather_slices(tokens, starts, a),
            "second": gather_slices(tokens, self.context[record] + self.first[numbers], b),
            "start": Ragged(start, one),
            "end": Ragged(end, one),
            "known": Ragged(self.known[numbers].astype(np.float32), one),
        }

    def windows(self, record: int) -> range:
        """The windows of a record."""
        start = int(self.rows.starts[record])
        return range(start, start + int(self.rows.sizes[record]))

    def characters(self, window: int) -> np.ndarray:
        """int64 [n, 2]: the characters of the tokens of a window's context."""
        assert self.cache.places is not None
        start = self.context[self.record[window]] + self.first[window]
        return self.cache.places[start : start + self.length[window, 1]].astype(np.int64)

    def counted(self, record: int) -> list[np.ndarray]:
        """For each window of a record, bool [n]: whether a token of its context counts in it
        (`max_context`)."""
        windows = self.windows(record)
        of_record = slice(windows.start, windows.stop)
        first, sizes = self.first[of_record], self.length[of_record, 1]
        chosen = max_context(first, sizes)
        pairs = enumerate(zip(first, sizes, strict=True))
        return [chosen[start : start + size] == number for number, (start, size) in pairs]

    def __reduce__(self):
        """Pickles the options; a worker process makes the windows again."""
        return partial(Windows, self.cache, **self.options), ()


def check_contexts(cache: TokenCache, sizes: np.ndarray) -> None:
    """Raises DataError if a context has no token with text."""
    assert cache.places is not None
    spelled = cache.places[:, 1] > cache.places[:, 0]
    counts = np.bincount(RowSplits(sizes.ravel()).row_ids[spelled], minlength=sizes.size)[1::2]
    if not counts.all():
        raise DataError(
            "every context must have a token, for an answer; the tokenizer makes none of that of "
            f"record {int(counts.argmin()) + 1}. Leave the record out"
        )


def max_context(first: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """int64 [n]: for each token of a context the window in which it has the most context.

    first, sizes: int [windows], the part of the context that each window has.

    That is the window with the greatest min(tokens before it, tokens after it), and of equal ones
    the first. run_squad.py (_check_is_max_context) also prefers longer windows among equal ones:
    these are the first, since only the last window may be shorter.

    >>> max_context(np.array([0, 3, 6]), np.array([5, 5, 4])).tolist()
    [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    """
    at = np.arange(first[-1] + sizes[-1])
    before = at - first[:, None]
    after = sizes[:, None] - 1 - before
    return np.minimum(before, after).argmax(0)
