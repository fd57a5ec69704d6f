"""The examples of a row joined into arrays of fixed length. Knows kinds of fields, never names.

Two examples of 3 and 2 tokens in a row of 6:

    tokens      1  5  6  1  7  0
    segments    1  1  1  2  2  0    made here: which example of the row; 0 = padding
    positions   0  1  2  0  1  0    made here: they start again in each example
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.ragged import Fields, Parts

AXES = {Kind.STREAM: "L", Kind.MEMORY: "M", Kind.INDEX: "P", Kind.PLACE: "E", Kind.EXAMPLE: "E"}
SHIFTED = (Kind.INDEX, Kind.PLACE)
PLACES = {"L": ("segments", "positions"), "M": ("memory_segments", "memory_positions")}
MADE = {name for pair in PLACES.values() for name in pair}


def pack(
    examples: Fields,
    counts: np.ndarray,
    *,
    budgets: Mapping[str, int],
    cross_documents: bool = False,
) -> dict[str, np.ndarray]:
    """A batch [B, ...] of rows that hold `counts` [B] of the examples, one after the other.

    examples  what every example has; answers lie along P where one field is an index, else L
    budgets   length of each axis: {"L": 1024}, also "M", "P", "E"
    cross_documents   each row is one text: attention and positions run across its examples
    """
    axes, rows = axes_of(tuple(examples)), Parts(counts)
    parts = {axis: examples[name].parts for name, axis in axes.items()}
    starts = starts_in_rows(parts["L"], rows)
    batch = blank(len(rows), tuple(examples), budgets)
    for axis, own in parts.items():
        used = np.bincount(rows.of, own.sizes, len(rows))
        if (used > budgets[axis]).any():
            raise ValueError(f"a row has {budgets[axis]} {axis}; received {int(used.max())}")
        filled = np.arange(budgets[axis]) < used[:, None]
        for name in (name for name, its in axes.items() if its == axis):
            values = examples[name].values
            if FIELDS[name].kind in SHIFTED:
                values = values + own.each(starts)
            batch[name][filled] = values
        if axis in PLACES:
            segments, positions = PLACES[axis]
            if cross_documents:
                batch[segments][filled], batch[positions][filled] = 1, filled.nonzero()[1]
            else:
                batch[segments][filled] = own.each(rows.place + 1)
                batch[positions][filled] = own.place
    return batch


def starts_in_rows(examples: Parts, rows: Parts) -> np.ndarray:
    """Where each example starts in its row.

    >>> starts_in_rows(Parts([3, 2, 2]), Parts([2, 1]))
    array([0, 3, 0])
    """
    return rows.running(examples.sizes) - examples.sizes


def blank(rows: int, fields: Sequence[str], budgets: Mapping[str, int]) -> dict[str, np.ndarray]:
    """A batch of padding, with what the packer makes for these fields."""
    axes = axes_of(fields)
    axes |= {name: axis for axis in PLACES if axis in axes.values() for name in PLACES[axis]}
    return {name: np.zeros((rows, budgets[a]), FIELDS[name].dtype) for name, a in axes.items()}


def axes_of(fields: Sequence[str]) -> dict[str, str]:
    """The axis of each field; `segments` and `positions` are the packer's own and left out."""
    kinds = {name: FIELDS[name].kind for name in fields if name not in MADE}
    answers = "P" if Kind.INDEX in kinds.values() else "L"
    return {name: AXES.get(kind, answers) for name, kind in kinds.items()}
