"""Sequences of different lengths in one flat array, so that numpy works on all of them at once.

The names are those of TensorFlow's ragged tensors: a row is one sequence (not a row of a batch).
The rows [5, 6, 7] and [8, 9]:

    values    5 6 7 8 9    [T]
    sizes     3 2          [E], the number of elements in each row; `RowSplits` is built from it
    starts    0 3          [E], where each row starts
    row_ids   0 0 0 1 1    [T], the row of each element
    offsets   0 1 2 0 1    [T], the position of each element in its row

A row of a batch may hold dozens of short texts. One numpy call per text would cost more than all
the work on their tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np


class RowSplits:
    """How a flat array is split into rows: `sizes`, int [E]; rows may be empty."""

    def __init__(self, sizes: Any):
        self.sizes = np.asarray(sizes, np.int64)

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def total(self) -> int:
        """The number of elements in all rows."""
        return int(self.sizes.sum())

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [E]: the index of the first element of each row."""
        return self.sizes.cumsum() - self.sizes

    @cached_property
    def nonempty_starts(self) -> np.ndarray:
        """int64 [rows that are not empty]: the index of the first element of each such row."""
        return self.starts[self.sizes > 0]

    @cached_property
    def row_ids(self) -> np.ndarray:
        """int64 [T]: the row of each element."""
        return np.arange(len(self)).repeat(self.sizes)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 [T]: the position of each element in its row."""
        return np.arange(self.total) - self.broadcast(self.starts)

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """[E] -> [T]: repeats the value of each row for all its elements."""
        return values.repeat(self.sizes)

    def cumsum(self, counts: np.ndarray) -> np.ndarray:
        """[T] -> int64 [T]: the cumulative sum of `counts`, restarted in each row.

        >>> RowSplits([3, 2]).cumsum(np.array([1, 0, 1, 1, 1]))
        array([1, 1, 2, 1, 2])
        """
        sums = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=sums[1:])
        return sums[1:] - self.broadcast(sums[self.starts])

    def take(self, indices: np.ndarray) -> "RowSplits":
        """The splits of a selection: how many of the elements `indices` each row has.

        >>> RowSplits([3, 2]).take(np.array([0, 2])).sizes
        array([2, 0])
        """
        return RowSplits(np.bincount(self.row_ids[indices], minlength=len(self)))

    def boolean_mask(self, keep: np.ndarray) -> "RowSplits":
        """The splits of the elements where `keep`, bool [T], is true."""
        return self.take(keep.nonzero()[0])

    def permutation(self, uniform: np.ndarray) -> np.ndarray:
        """int [T]: indices that shuffle each row separately; all orders are equally likely.

        uniform: [T] in [0, 1), of which 32 bits count. The sort keys are distinct integers, so the
        order within a row depends neither on rounding in other rows nor on how ties are sorted.

        Raises ValueError when the row number and the offset need more than 31 bits together.
        """
        bits = int(self.sizes.max(initial=1)).bit_length()
        if len(self).bit_length() + bits > 31:
            raise ValueError(
                "to shuffle rows, the number of rows and the longest row must fit into 31 bits "
                f"together; received {len(self)} rows of up to {self.sizes.max()} elements; use "
                "smaller batches or shorter texts"
            )
        keys = (self.row_ids << 32 | (uniform * (1 << 32)).astype(np.int64)) << bits | self.offsets
        keys.sort()
        return (keys & ((1 << bits) - 1)) + self.broadcast(self.starts)


class Ragged(NamedTuple):
    """Sequences of different lengths: `values` [T] and the `splits` of their rows."""

    values: np.ndarray
    splits: RowSplits

    @classmethod
    def concatenate(cls, sequences: Iterable[Any], dtype: Any = np.int32) -> "Ragged":
        """The sequences as rows of one ragged array.

        >>> Ragged.concatenate([[5, 6], [7]]).values
        array([5, 6, 7], dtype=int32)
        """
        rows = [np.asarray(sequence, dtype) for sequence in sequences]
        values = np.concatenate(rows) if rows else np.zeros(0, dtype)
        return cls(values, RowSplits([len(row) for row in rows]))

    def split(self) -> list[np.ndarray]:
        """The rows as separate arrays, the inverse of `concatenate`."""
        return np.split(self.values, self.splits.starts[1:]) if len(self.splits) else []

    def select(self, numbers: np.ndarray) -> "Ragged":
        """The rows with these numbers, int [E], in this order.

        >>> Ragged.concatenate([[5, 6], [7], [8]]).select(np.array([2, 0])).values
        array([8, 5, 6], dtype=int32)
        """
        starts, sizes = self.splits.starts[numbers], self.splits.sizes[numbers]
        return gather_slices(self.values, starts, sizes, self.values.dtype)

    def boolean_mask(self, keep: np.ndarray) -> "Ragged":
        """The elements where `keep`, bool [T], is true, in their rows."""
        return Ragged(self.values[keep], self.splits.boolean_mask(keep))


Fields = Mapping[str, Ragged]
"""Named sequences of the same examples; fields of one axis share their splits."""


def gather_slices(
    stored: np.ndarray, starts: np.ndarray, sizes: np.ndarray, dtype: Any = np.int32
) -> Ragged:
    """The slices `stored[start : start + size]` for `starts` [E] and `sizes` [E], as rows.

    >>> gather_slices(np.arange(10), np.array([7, 2]), np.array([2, 3])).values
    array([7, 8, 2, 3, 4], dtype=int32)
    """
    splits = RowSplits(sizes)
    return Ragged(stored[splits.offsets + splits.broadcast(starts)].astype(dtype), splits)


def wrap(texts: Ragged, prefix: Sequence[int], suffix: Sequence[int]) -> Ragged:
    """Adds the same ids before and after every row.

    >>> wrap(Ragged.concatenate([[5, 6], [7]]), [1], [2]).values
    array([1, 5, 6, 2, 1, 7, 2], dtype=int32)
    """
    extra = len(prefix) + len(suffix)
    if not extra:
        return texts
    inner, splits = texts.splits, RowSplits(texts.splits.sizes + extra)
    values = np.empty(splits.total, texts.values.dtype)
    values[np.arange(inner.total) + (inner.row_ids * extra + len(prefix))] = texts.values
    for i, token in enumerate(prefix):
        values[splits.starts + i] = token
    for i, token in enumerate(suffix):
        values[splits.starts + splits.sizes - len(suffix) + i] = token
    return Ragged(values, splits)


def concatenate_rows(first: Ragged, second: Ragged) -> Ragged:
    """Row i of `first` followed by row i of `second`.

    >>> first, second = Ragged.concatenate([[5, 6], [7]]), Ragged.concatenate([[8], [9]])
    >>> concatenate_rows(first, second).values
    array([5, 6, 8, 7, 9], dtype=int32)
    """
    splits = RowSplits(first.splits.sizes + second.splits.sizes)
    values = np.empty(splits.total, np.result_type(first.values, second.values))
    values[first.splits.broadcast(splits.starts) + first.splits.offsets] = first.values
    second_starts = splits.starts + first.splits.sizes
    values[second.splits.broadcast(second_starts) + second.splits.offsets] = second.values
    return Ragged(values, splits)
