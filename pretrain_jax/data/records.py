"""Raw examples from records with labels: one text or a pair, whole, one example per record.

Nothing is dropped and nothing is cut in two: a task is scored on every record once. Texts that are
too long are truncated as in BERT (google-research/bert run_classifier.py): a token at a time leaves
the end of the longer text, of the second if both are equally long. With room for 5 tokens:

    "a b c d" and "r s"        a b c | r s
    "a b c d" and "r s t u"    a b c | r s
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import BadLabel, DataError
from pretrain_jax.ragged import Fields, Ragged, gather_slices
from pretrain_jax.rounding import ceil_div

ReadLabels = Callable[[list[str | None]], Ragged]


class Records:
    """One or two texts of each record of a token cache, with its label.

    Example k has `length[k]` tokens: int32 [N, 1] for one text, [N, 2] for a pair. `cut` is the
    number of examples whose texts are truncated.

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
        self.length = np.stack(truncate(first, second, tokens), 1)[:, :texts].astype(np.int32)
        self.cut = int(np.count_nonzero(self.length.sum(1) < first + second))

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"first": int32, a of each, "labels": its numbers}, and for pairs {"second": int32, b of
        each}; (a, b) = length[k]."""
        lengths, tokens = self.length[numbers].T, self.cache.tokens
        taken = {"first": gather_slices(tokens, self.start[numbers], lengths[0])}
        if len(lengths) > 1:
            taken["second"] = gather_slices(tokens, self.second[numbers], lengths[1])
        return {**taken, "labels": self.labels.select(numbers)}

    def __reduce__(self):
        """Pickles the options; a worker process reads the labels again."""
        return partial(Records, self.cache, **self.options), ()


class Choices:
    """A text and several continuations of it, one of which is right: a text for each choice.

    Example k has `length[k]` = (tokens of all its sequences, each with the first text; number of
    its choices), int32 [N, 2]. A record may have fewer choices than `choices`; its last ones are
    then empty. `cut`: see Records.

    tokens        maximum tokens of the first text and one choice together
    choices       most choices of a record
    read_labels   see Records

    Raises DataError if the cache has no records, or a record has no choice with text.
    """

    def __init__(self, cache: TokenCache, *, tokens: int, choices: int, read_labels: ReadLabels):
        self.cache = cache
        self.options = {"tokens": tokens, "choices": choices, "read_labels": read_labels}
        self.labels = read_labels(cache.labels)
        marks = annotations_of(cache)
        self.start, sizes = split_at_annotations(marks, cache.offsets, 1 + choices)
        first, others = sizes[:, :1], sizes[:, 1:]
        if (missing := np.flatnonzero((others > 0).sum(1) < 1)).size:
            raise BadLabel(
                f"every record needs a choice with text; {BadLabel.RECORD} has none. Fix it",
                int(missing[0]),
            )
        kept, self.others = truncate(first, others, tokens)
        self.first = np.where(others > 0, kept, 0)
        total = (self.first + self.others).sum(1)
        complete = np.where(others > 0, first + others, 0).sum(1)
        self.cut = int(np.count_nonzero(total < complete))
        counts = (others > 0).sum(1)
        self.check_labels(counts)
        self.length = np.stack([total, counts], 1).astype(np.int32)

    def check_labels(self, counts: np.ndarray) -> None:
        """Raises BadLabel for a label that is not below the number of choices of its record."""
        known = self.labels.splits.sizes > 0
        wrong = np.flatnonzero(self.labels.values >= counts[known])
        if wrong.size:
            record = int(np.flatnonzero(known)[wrong[0]])
            raise BadLabel(
                f"every label must be the number of the right choice; {BadLabel.RECORD} has "
                f"{counts[record]} choices and the label {self.labels.values[wrong[0]]}. Fix it",
                record,
            )

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"first": int32, "second": int32, `choices` rows of each for every example, "labels": its
        numbers}. The rows of a missing choice are empty."""
        first, others = self.first[numbers], self.others[numbers]
        begin = np.repeat(self.start[numbers, :1], first.shape[1], axis=1)
        tokens = self.cache.tokens
        return {
            "first": gather_slices(tokens, begin.ravel(), first.ravel()),
            "second": gather_slices(tokens, self.start[numbers, 1:].ravel(), others.ravel()),
            "labels": self.labels.select(numbers),
        }

    def __reduce__(self):
        """Pickles the options; a worker process reads the labels again."""
        return partial(Choices, self.cache, **self.options), ()


def truncate(first: Any, second: Any, tokens: int) -> tuple[Any, Any]:
    """The tokens that remain of the first and of the second text of pairs, from those that they
    have, int arrays, and the room for both.

    >>> truncate(np.array([4, 4, 1]), np.array([4, 2, 9]), 5)
    (array([3, 3, 1]), array([2, 2, 4]))
    """
    kept = np.minimum(first, np.maximum(tokens - second, ceil_div(tokens, 2)))
    return kept, np.minimum(second, tokens - kept)


def split_at_annotations(
    marks: np.ndarray, offsets: np.ndarray, texts: int
) -> tuple[np.ndarray, np.ndarray]:
    """(start, size) of each text of each record, int64 [N, texts]; missing texts have size 0.

    marks: the annotation of each token. offsets: int64 [N+1], where records start in them. The
    texts of a record have the annotations 0, 1, 2, 1, 2, ... (annotations.annotate_parts).
    """
    records = len(offsets) - 1
    changes = np.flatnonzero(np.diff(marks)) + 1
    edges = np.unique(np.concatenate([offsets[:-1][np.diff(offsets) > 0], changes]))
    record = offsets.searchsorted(edges, side="right") - 1
    first_of = np.searchsorted(record, np.arange(records))
    place = np.arange(len(edges)) - first_of[record]
    starts = np.zeros((records, texts), np.int64)
    sizes = np.zeros_like(starts)
    starts[record, place] = edges
    sizes[record, place] = np.diff(np.append(edges, len(marks)))
    return starts, sizes


def text_sizes(cache: TokenCache) -> np.ndarray:
    """int64 [N, 2]: the tokens of the first text of each record, and of all others together.

    Raises DataError if the cache has no records.
    """
    marks = annotations_of(cache)
    in_others = np.concatenate([[0], np.cumsum(marks > 0, dtype=np.int64)])
    others = in_others[cache.offsets[1:]] - in_others[cache.offsets[:-1]]
    return np.stack([np.diff(cache.offsets) - others, others], 1)


def annotations_of(cache: TokenCache) -> np.ndarray:
    """uint8 [T]: which text of its record each token belongs to. Raises DataError without
    records."""
    if cache.annotations is None or cache.annotation_kind != "records":
        raise DataError("an objective with labels needs a source of records; this one has none")
    return cache.annotations
