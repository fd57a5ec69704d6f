"""The phases of a run: row length, batch size and accumulation by step."""

import operator
from dataclasses import dataclass
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import ranges
from pretrain_jax.errors import ConfigError, short_repr

PHASE_KEYS = ("seq_len", "batch_size", "accumulate")
"""Keys that a phase may change."""


@dataclass(frozen=True)
class Phase:
    """Steps first to last - 1 of a run: rows of `seq_len` tokens and batches of `batch_size` rows,
    computed in `accumulate` microbatches."""

    first: int
    last: int
    seq_len: int
    batch_size: int
    accumulate: int

    @property
    def rows(self) -> int:
        """The rows that the phase trains on."""
        return (self.last - self.first) * self.batch_size


class Phases(tuple[Phase, ...]):
    """The phases of a run, in order."""

    @property
    def trained(self) -> tuple[Phase, ...]:
        """The phases that a run of `train.steps` reaches; all phases if that is 0."""
        return tuple(phase for phase in self if phase.last > phase.first) or self

    @property
    def eval_seq_len(self) -> int:
        """The row length of evaluations and samples: that of the last phase that training
        reaches."""
        return self.trained[-1].seq_len

    def after(self, step: int) -> list[Phase]:
        """The phases that have not ended after `step` updates."""
        return [phase for phase in self if phase.last > max(step, phase.first)]


def build_phases(data: Any, train: Any) -> Phases:
    """The phases of a run, in order; one phase if `train.phases` is empty. Raises ConfigError.

    BERT's phases, 90 % of a million steps at length 128, are
    ((0, {"seq_len": 128}), (900_000, {"seq_len": 512})).
    """
    malformed = ConfigError(
        "train.phases must be a list of (from_step, changes) with ascending steps, and only "
        f"{', '.join(PHASE_KEYS[:-1])} and {PHASE_KEYS[-1]} can change; "
        f"received {short_repr(train.phases)}"
    )
    try:
        entries = [(to_int(first), dict(changes)) for first, changes in train.phases]
    except (TypeError, ValueError):
        raise malformed from None
    if not entries or entries[0][0] != 0:
        entries = [(0, {}), *entries]
    phases: list[Phase] = []
    current = {
        "seq_len": data.seq_len,
        "batch_size": train.batch_size,
        "accumulate": train.accumulate,
    }
    for number, (first, changes) in enumerate(entries):
        if (
            set(changes) - set(PHASE_KEYS)
            or first < 0
            or (number and first <= entries[number - 1][0])
        ):
            raise malformed
        current |= changes
        for name, section in zip(PHASE_KEYS, ("data", "train", "train"), strict=True):
            key, named = f"{section}.{name}", f"every {name} in train.phases"
            current[name] = ranges.check(key, registry.coerce(named, current[name], int), named)
        last = entries[number + 1][0] if number + 1 < len(entries) else train.steps
        phases.append(Phase(first, max(min(last, train.steps), first), **current))
    return Phases(phases)


def to_int(number: Any) -> int:
    """An integer, unchanged. Raises TypeError for anything else, including booleans."""
    if isinstance(number, bool):
        raise TypeError(f"{number} is a boolean")
    return operator.index(number)


def profile_steps(steps: tuple) -> tuple[int, int] | None:
    """(first, last) of `train.profile`; None if it is empty. Raises ConfigError.

    >>> profile_steps((10, 12))
    (10, 12)
    """
    if not steps:
        return None
    whole = [isinstance(x, int) and not isinstance(x, bool) for x in steps]
    if len(whole) != 2 or not all(whole) or not 1 <= steps[0] <= steps[1]:
        raise ConfigError(
            "train.profile must be (first, last), the numbers of two steps from 1, such as "
            f"(10, 12); received {short_repr(steps)}"
        )
    return int(steps[0]), int(steps[1])
