"""The examples of a row joined into arrays of fixed length. Knows kinds of fields, never names.

Two examples of 3 and 2 tokens in a row of 6:

    tokens      1  5  6  1  7  0
    segments    1  1  1  2  2  0    made here: which example of the row; 0 = padding
    positions   0  1  2  0  1  0    made here: they start again in each example
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
    batch = {n: np.zeros((len(rows), budgets[a]), FIELDS[n].dtype) for n, a in axes.items()}
    used = sorted(set(axes.values()))
    leaders = {axis: next(n for n, a in axes.items() if a == axis) for axis in used}
    places = [(axis, *PLACES[axis]) for axis in PLACES if axis in leaders]
    for axis, *names in places:
        batch |= {name: np.zeros((len(rows), budgets[axis]), np.int32) for name in names}
    count = np.arange(max(budgets.values()), dtype=np.int32)
    copied = [(n, a, batch[n], FIELDS[n].kind in SHIFTED) for n, a in axes.items()]
    for row, examples in enumerate(rows):
        at = dict.fromkeys(used, 0)
        for segment, example in enumerate(examples, start=1):
            end = {axis: at[axis] + len(example[leaders[axis]]) for axis in used}
            for axis in used:
                if end[axis] > budgets[axis]:
                    raise ValueError(f"a row has {budgets[axis]} {axis}; received {end[axis]}")
            for name, axis, array, shifted in copied:
                value = example[name]
                array[row, at[axis] : end[axis]] = value + at["L"] if shifted else value
            for axis, segments, positions in places:
                start, stop = at[axis], end[axis]
                batch[segments][row, start:stop] = 1 if cross_documents else segment
                first = start if cross_documents else 0
                batch[positions][row, start:stop] = count[first : first + stop - start]
            at = end
    return batch


def axes_of(fields: Sequence[str]) -> dict[str, str]:
    """The axis of each field; `segments` and `positions` are the packer's own and left out."""
    kinds = {name: FIELDS[name].kind for name in fields if name not in MADE}
    answers = "P" if Kind.INDEX in kinds.values() else "L"
    return {name: AXES.get(kind, answers) for name, kind in kinds.items()}
