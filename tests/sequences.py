"""Examples one by one, for tests that say what becomes of each; the data path has them in one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrain_jax.corruption.noise import group_starts
from pretrain_jax.ragged import Fields, Ragged, RowSplits


def together(examples: Sequence[Mapping[str, Any]]) -> Fields:
    """Examples, each a dict of arrays, one behind the other; lists are of int32."""
    arrays = {name: [array(each[name]) for each in examples] for name in examples[0]}
    fields = {name: Ragged.concatenate(each, each[0].dtype) for name, each in arrays.items()}
    for field in fields.values():
        field.values.setflags(write=False)
    return fields


def array(values: Any) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else np.array(values, np.int32)


def apart(examples: Fields) -> list[dict[str, np.ndarray]]:
    """Each example for itself."""
    split = zip(*(field.split() for field in examples.values()), strict=True)
    return [dict(zip(examples, each, strict=True)) for each in split]


def taken(examples: Any, k: int) -> dict[str, np.ndarray]:
    """The raw example k of an arrangement."""
    return apart(examples.take(np.array([k])))[0]


def one(values: Any) -> RowSplits:
    """An array as one text."""
    return RowSplits([len(values)])


def groups_of(texts: RowSplits, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts, stops) of the groups of a noise map: where they lie in the array of all texts."""
    starts = group_starts(texts, drawn).nonzero()[0]
    number = np.cumsum(group_starts(texts, drawn))[drawn > 0] - 1
    return starts, starts + np.bincount(number, minlength=len(starts))
