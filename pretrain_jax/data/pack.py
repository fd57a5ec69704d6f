"""The examples of a row joined into arrays of fixed length. Knows kinds of fields, never names.

Two examples of 3 and 2 tokens in a row of 6:

    tokens      1  5  6  1  7  0
    segments    1  1  1  2  2  0    made here: which example of the row; 0 = padding
    positions   0  1  2  0  1  0    made here: they start again in each example

The examples of a whole batch are joined at once: a row may hold many short ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pretrain_jax.batch import FIELDS, Kind

AXES = {Kind.STREAM: "L", Kind.MEMORY: "M", Kind.INDEX: "P", Kind.PLACE: "E", Kind.EXAMPLE: "E"}
SHIFTED = (Kind.INDEX, Kind.PLACE)
PLACES = {"L": ("segments", "positions"), "M": ("memory_segments", "memory_positions")}
MADE = {name for pair in PLACES.values() for name in pair}


def pack(
    rows: Sequence[Sequence[Mapping[str, np.ndarray]]],
    *,
    fields: Sequence[str],
    budgets: Mapping[str, int],
    cross_documents: bool = False,
) -> dict[str, np.ndarray]:
    """A batch [B, ...] of B rows, each a list of examples; an empty list makes a row of padding.

    fields    what every example has; answers lie along P where one of them is an index, else L
    budgets   length of each axis: {"L": 1024}, also "M", "P", "E"
    cross_documents   each row is one text: attention and positions run across its examples
    """
    axes = axes_of(fields)
    leaders = {axis: name for name, axis in reversed(axes.items())}
    examples = [example for row in rows for example in row]
    counts = np.array([len(row) for row in rows])
    row_of = np.repeat(np.arange(len(rows)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)  # of each example: the first of its row
    sizes = {a: np.array([len(e[n]) for e in examples], np.int64) for a, n in leaders.items()}
    starts = {axis: starts_of(size, first) for axis, size in sizes.items()}
    batch = {}
    for axis, size in sizes.items():
        used = np.bincount(row_of, size, len(rows))
        if (used > budgets[axis]).any():
            raise ValueError(f"a row has {budgets[axis]} {axis}; received {int(used.max())}")
        filled = np.arange(budgets[axis]) < used[:, None]
        for name in (n for n, a in axes.items() if a == axis):
            values = np.concatenate([example[name] for example in examples]) if examples else 0
            if FIELDS[name].kind in SHIFTED:
                values = values + np.repeat(starts["L"], size)
            batch[name] = laid(values, filled, FIELDS[name].dtype)
        if axis in PLACES:
            segments, positions = PLACES[axis]
            numbers = np.repeat(np.arange(len(examples)) - first + 1, size)
            places = filled.nonzero()[1]  # in the row
            if cross_documents:
                numbers = np.ones_like(numbers)
            else:
                places = places - np.repeat(starts[axis], size)
            batch[segments] = laid(numbers, filled, np.int32)
            batch[positions] = laid(places, filled, np.int32)
    return batch


def starts_of(size: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Where each example starts in its row, from the sizes of all, and the first of each one's row.

    >>> starts_of(np.array([3, 2, 2]), np.array([0, 0, 2]))
    array([0, 3, 0])
    """
    starts = np.cumsum(size) - size
    return starts - starts[first]


def laid(values: np.ndarray | int, filled: np.ndarray, dtype: type) -> np.ndarray:
    """[B, n]: values, row by row, in the slots that are `filled`, bool [B, n], and 0 elsewhere."""
    array = np.zeros(filled.shape, dtype)
    array[filled] = values
    return array


def axes_of(fields: Sequence[str]) -> dict[str, str]:
    """The axis of each field; `segments` and `positions` are the packer's own and left out."""
    kinds = {name: FIELDS[name].kind for name in fields if name not in MADE}
    answers = "P" if Kind.INDEX in kinds.values() else "L"
    return {name: AXES.get(kind, answers) for name, kind in kinds.items()}
