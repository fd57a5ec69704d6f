"""The phases of a run: which steps have which rows and batches."""

import operator
from dataclasses import dataclass
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import ranges
from pretrain_jax.errors import ConfigError, short_repr

CHANGING = ("seq_len", "batch_size", "accumulate")
"""What a phase may change."""


@dataclass(frozen=True)
class Phase:
    """Steps first .. last - 1 of a run have rows of `seq_len` and batches of `batch_size`, computed
    in `accumulate` microbatches."""

    first: int
    last: int
    seq_len: int
    batch_size: int
    accumulate: int


class Phases(tuple[Phase, ...]):
    """The phases of a run, in order."""

    @property
    def trained(self) -> tuple[Phase, ...]:
        """Those that a run of `train.steps` reaches; all of them where that is 0."""
        return tuple(phase for phase in self if phase.last > phase.first) or self

    @property
    def eval_seq_len(self) -> int:
        """The row length of evaluations and samples: the last one that training reaches."""
        return self.trained[-1].seq_len

    def after(self, step: int) -> list[Phase]:
        """Those that have not ended after `step` updates."""
        return [phase for phase in self if phase.last > max(step, phase.first)]


def phases_of(data: Any, train: Any) -> Phases:
    """The phases of a run, in order: one when `train.phases` is empty.

    BERT's, 90 % of a million steps at length 128, is
    ((0, {"seq_len": 128}), (900_000, {"seq_len": 512})).
    """
    malformed = ConfigError(
        "train.phases is a list of (from_step, changes) with ascending steps, and only "
        f"{', '.join(CHANGING[:-1])} and {CHANGING[-1]} can change; "
        f"received {short_repr(train.phases)}"
    )
    try:
        entries = [(to_int(first), dict(changes)) for first, changes in train.phases]
    except (TypeError, ValueError):
        raise malformed from None
    if not entries or entries[0][0] != 0:
        entries = [(0, {}), *entries]
    found: list[Phase] = []
    now = {"seq_len": data.seq_len, "batch_size": train.batch_size, "accumulate": train.accumulate}
    for number, (first, changes) in enumerate(entries):
        if (
            set(changes) - set(CHANGING)
            or first < 0
            or (number and first <= entries[number - 1][0])
        ):
            raise malformed
        now |= changes
        for name, section in zip(CHANGING, ("data", "train", "train"), strict=True):
            key, named = f"{section}.{name}", f"every {name} in train.phases"
            now[name] = ranges.check(key, registry.coerce(named, now[name], int), named)
        last = entries[number + 1][0] if number + 1 < len(entries) else train.steps
        found.append(Phase(first, max(min(last, train.steps), first), **now))
    return Phases(found)


def to_int(number: Any) -> int:
    """A whole number as it is; raises TypeError for anything else, truth values among it."""
    if isinstance(number, bool):
        raise TypeError(f"{number} is no number")
    return operator.index(number)
