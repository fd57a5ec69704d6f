"""Many sequences of unequal length as one array, so that numpy works on all of them at once.

The sequences 5 6 7 and 8 9:

    values    5 6 7 8 9    [T]
    sizes     3 2          [E], what `Parts` is made of
    starts    0 3          [E]
    of        0 0 0 1 1    [T], which sequence an element belongs to
    place     0 1 2 0 1    [T], and where in it

A row of short texts has dozens of them: one call for each costs more than all their tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np


class Parts:
    """How an array is cut into parts: `sizes`, int [E], of which some may be 0."""

    def __init__(self, sizes: Any):
        self.sizes = np.asarray(sizes, np.int64)

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def total(self) -> int:
        return int(self.sizes.sum())

    @cached_property
    def starts(self) -> np.ndarray:
        return self.sizes.cumsum() - self.sizes

    @cached_property
    def leading(self) -> np.ndarray:
        """int: the first element of each part that has one."""
        return self.starts[self.sizes > 0]

    @cached_property
    def of(self) -> np.ndarray:
        return np.arange(len(self)).repeat(self.sizes)

    @cached_property
    def place(self) -> np.ndarray:
        return np.arange(self.total) - self.each(self.starts)

    def each(self, values: np.ndarray) -> np.ndarray:
        """[E] -> [T]: the value of its part for every element."""
        return values.repeat(self.sizes)

    def running(self, counts: np.ndarray) -> np.ndarray:
        """[T] -> int64 [T]: the sum of `counts` from the start of each part up to an element.

        >>> Parts([3, 2]).running(np.array([1, 0, 1, 1, 1]))
        array([1, 1, 2, 1, 2])
        """
        so_far = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=so_far[1:])
        return so_far[1:] - self.each(so_far[self.starts])

    def counts(self, places: np.ndarray) -> "Parts":
        """How many of the elements `places` each part has.

        >>> Parts([3, 2]).counts(np.array([0, 2])).sizes
        array([2, 0])
        """
        return Parts(np.bincount(self.of[places], minlength=len(self)))

    def chosen(self, keep: np.ndarray) -> "Parts":
        """What is left of the parts of an array [T] where `keep`, bool [T], picks its elements."""
        return self.counts(keep.nonzero()[0])

    def shuffled(self, uniform: np.ndarray) -> np.ndarray:
        """int [T]: the elements, each part's in an order of its own, all equally likely.

        uniform: [T] in [0, 1), of which 32 bits count. Keys are whole numbers, no two alike: what
        becomes of a part cannot depend on the others by rounding, nor on how ties are sorted.
        """
        bits = int(self.sizes.max(initial=1)).bit_length()
        if len(self).bit_length() + bits > 31:
            raise ValueError(
                "parts and the longest of them must be counted in 31 bits to be shuffled; received "
                f"{len(self)} parts of up to {self.sizes.max()}; make batches or texts smaller"
            )
        keys = (self.of << 32 | (uniform * (1 << 32)).astype(np.int64)) << bits | self.place
        keys.sort()
        return (keys & ((1 << bits) - 1)) + self.each(self.starts)


class Ragged(NamedTuple):
    """Sequences: `values` [T], cut into `parts`."""

    values: np.ndarray
    parts: Parts

    @classmethod
    def joined(cls, sequences: Iterable[Any], dtype: Any = np.int32) -> "Ragged":
        """The sequences one behind the other.

        >>> Ragged.joined([[5, 6], [7]]).values
        array([5, 6, 7], dtype=int32)
        """
        each = [np.asarray(sequence, dtype) for sequence in sequences]
        values = np.concatenate(each) if each else np.zeros(0, dtype)
        return cls(values, Parts([len(one) for one in each]))

    def split(self) -> list[np.ndarray]:
        """The sequences one by one."""
        return np.split(self.values, self.parts.starts[1:]) if len(self.parts) else []

    def where(self, keep: np.ndarray) -> "Ragged":
        """The elements that `keep`, bool [T], picks."""
        return Ragged(self.values[keep], self.parts.chosen(keep))


Fields = Mapping[str, Ragged]
"""Named sequences of the same examples; those of one axis share their parts."""


def stretches(
    stored: np.ndarray, starts: np.ndarray, sizes: np.ndarray, dtype: Any = np.int32
) -> Ragged:
    """For each of `starts` [E] what is stored from there on, `sizes` [E] of it.

    >>> stretches(np.arange(10), np.array([7, 2]), np.array([2, 3])).values
    array([7, 8, 2, 3, 4], dtype=int32)
    """
    parts = Parts(sizes)
    return Ragged(stored[parts.place + parts.each(starts)].astype(dtype), parts)


def around(texts: Ragged, before: Sequence[int], after: Sequence[int]) -> Ragged:
    """The same few ids in front of every sequence, and behind it.

    >>> around(Ragged.joined([[5, 6], [7]]), [1], [2]).values
    array([1, 5, 6, 2, 1, 7, 2], dtype=int32)
    """
    extra = len(before) + len(after)
    if not extra:
        return texts
    inside, parts = texts.parts, Parts(texts.parts.sizes + extra)
    values = np.empty(parts.total, texts.values.dtype)
    values[np.arange(inside.total) + (inside.of * extra + len(before))] = texts.values
    for i, token in enumerate(before):
        values[parts.starts + i] = token
    for i, token in enumerate(after):
        values[parts.starts + parts.sizes - len(after) + i] = token
    return Ragged(values, parts)


def side_by_side(first: Ragged, second: Ragged) -> Ragged:
    """Each sequence of `first` with that of `second` behind it.

    >>> side_by_side(Ragged.joined([[5, 6], [7]]), Ragged.joined([[8], [9]])).values
    array([5, 6, 8, 7, 9], dtype=int32)
    """
    parts = Parts(first.parts.sizes + second.parts.sizes)
    values = np.empty(parts.total, np.result_type(first.values, second.values))
    values[first.parts.each(parts.starts) + first.parts.place] = first.values
    behind = parts.starts + first.parts.sizes
    values[second.parts.each(behind) + second.parts.place] = second.values
    return Ragged(values, parts)
