"""Places at the beginning of each example, for adapters that learn a prompt or a prefix.

A place has a negative id: the first -1, the second -2, and so on. It is a position of the example
like any other, but nothing is predicted there. For count=2 and the example

    tokens   5  6  7        targets  6  7  2

    tokens  -1 -2  5  6  7        targets  0  0  6  7  2
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives._base import Objective
from pretrain_jax.ragged import Fields, wrap


def add_places(objective: Objective, count: int, in_memory: bool = False) -> Objective:
    """The objective, whose examples begin with `count` places; rows have the same lengths.

    in_memory: in the memory, where there is one.
    """
    if not count:
        return objective
    memory = in_memory and "memory_tokens" in objective.fields
    axis = "M" if memory else "L"

    def lengths(n: Any) -> dict[str, Any]:
        before = objective.lengths(n)
        return {**before, axis: before[axis] + count * objective.sequences}

    def arrange(seq_len: int) -> dict[str, Any]:
        room = seq_len - count * objective.sequences
        if room < 2:
            raise ConfigError(
                f"adapter.tokens must leave room for text; received {count} in rows of "
                f"data.seq_len={seq_len}. Lower adapter.tokens"
            )
        return objective.arrange(room)

    add = Add(count, memory)
    return dataclasses.replace(
        objective,
        lengths=lengths,
        arrange=arrange,
        corrupt=After(objective.corrupt, add),
        prompt=objective.prompt and After(objective.prompt, add.to_row),
        pll_examples=objective.pll_examples and After(objective.pll_examples, add),
    )


@dataclasses.dataclass(frozen=True)
class After:
    """second(first(...)); workers of the data path need to pickle it."""

    first: Callable[..., Any]
    second: Callable[[Any], Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.second(self.first(*arguments))


@dataclasses.dataclass(frozen=True)
class Add:
    """Adds places to the fields of examples."""

    count: int
    memory: bool

    @property
    def ids(self) -> np.ndarray:
        return -1 - np.arange(self.count)

    def __call__(self, fields: Fields) -> Fields:
        kinds = {name: FIELDS[name].kind for name in fields}
        moved = Kind.MEMORY if self.memory else Kind.STREAM
        targets = not self.memory and Kind.INDEX not in kinds.values()
        added = {}
        for name, field in fields.items():
            kind = kinds[name]
            if kind is moved or (kind is Kind.TARGET and targets):
                field = wrap(field, self.values(name).tolist(), ())
            elif kind in (Kind.INDEX, Kind.EXAMPLE_INDEX) and not self.memory:
                field = field._replace(values=field.values + self.count)
            added[name] = field
        return added

    def values(self, name: str) -> np.ndarray:
        """What a field has in the places. Those of a prefix LM belong to its prefix."""
        if name in ("tokens", "memory_tokens"):
            return self.ids
        return np.full(self.count, name == "prefix", FIELDS[name].dtype)

    def to_row(self, row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for the fields of one row (Objective.prompt)."""
        moved = Kind.MEMORY if self.memory else Kind.STREAM
        return {
            name: np.concatenate([self.values(name), field]).astype(field.dtype)
            if FIELDS[name].kind is moved
            else field
            for name, field in row.items()
        }
