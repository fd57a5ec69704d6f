"""Packs the examples of a row into arrays of fixed length, by the kinds of their fields.

Two examples of 3 and 2 tokens in a row of 6:

    tokens      1  5  6  1  7  0
    segments    1  1  1  2  2  0    added here: the number of the example in the row; 0 = padding
    positions   0  1  2  0  1  0    added here: they restart in each example
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.ragged import Fields, RowSplits

AXES = {
    Kind.STREAM: "L",
    Kind.MEMORY: "M",
    Kind.INDEX: "P",
    Kind.EXAMPLE_INDEX: "E",
    Kind.EXAMPLE: "E",
}
SHIFTED = (Kind.INDEX, Kind.EXAMPLE_INDEX)
PLACES = {"L": ("segments", "positions"), "M": ("memory_segments", "memory_positions")}
MADE = {name for pair in PLACES.values() for name in pair}


def pack(
    examples: Fields,
    counts: np.ndarray,
    *,
    budgets: Mapping[str, int],
    cross_documents: bool = False,
) -> dict[str, np.ndarray]:
    """A batch [B, ...]; row b holds the next counts[b] examples.

    examples          fields of the examples; targets are on axis P if a field is an index, else L
    budgets           length of each axis: {"L": 1024}, also "M", "P", "E"
    cross_documents   each row is one text: attention and positions span its examples

    Raises ValueError if the examples of a row do not fit.
    """
    axes, rows = field_axes(tuple(examples)), RowSplits(counts)
    parts = {axis: examples[name].splits for name, axis in axes.items()}
    starts = starts_in_rows(parts["L"], rows)
    batch = empty_batch(len(rows), tuple(examples), budgets)
    for axis, splits in parts.items():
        used = np.bincount(rows.row_ids, splits.sizes, len(rows))
        if (used > budgets[axis]).any():
            raise ValueError(
                f"axis {axis} of a row has length {budgets[axis]}; received examples of "
                f"{int(used.max())}"
            )
        filled = np.arange(budgets[axis]) < used[:, None]
        for name in (name for name, of_field in axes.items() if of_field == axis):
            values = examples[name].values
            if FIELDS[name].kind in SHIFTED:
                values = values + splits.broadcast(starts)
            batch[name][filled] = values
        if axis in PLACES:
            segments, positions = PLACES[axis]
            if cross_documents:
                batch[segments][filled], batch[positions][filled] = 1, filled.nonzero()[1]
            else:
                batch[segments][filled] = splits.broadcast(rows.offsets + 1)
                batch[positions][filled] = splits.offsets
    return batch


def starts_in_rows(examples: RowSplits, rows: RowSplits) -> np.ndarray:
    """The offset of each example in its row.

    >>> starts_in_rows(RowSplits([3, 2, 2]), RowSplits([2, 1]))
    array([0, 3, 0])
    """
    return rows.cumsum(examples.sizes) - examples.sizes


def empty_batch(
    rows: int, fields: Sequence[str], budgets: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """A batch of padding with these fields and those that the packer adds."""
    axes = field_axes(fields)
    axes |= {name: axis for axis in PLACES if axis in axes.values() for name in PLACES[axis]}
    return {name: np.zeros((rows, budgets[a]), FIELDS[name].dtype) for name, a in axes.items()}


def field_axes(fields: Sequence[str]) -> dict[str, str]:
    """The axis of each field, without the fields that the packer adds (`segments`, `positions`)."""
    kinds = {name: FIELDS[name].kind for name in fields if name not in MADE}
    target_axis = "P" if Kind.INDEX in kinds.values() else "L"
    return {name: AXES.get(kind, target_axis) for name, kind in kinds.items()}
