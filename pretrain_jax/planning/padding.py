"""Which key makes rows fuller, where most of them is padding.

The answers of text-to-text tasks have room of their own, `objective.targets_length`: too much of it
stays empty, with too little of it rows end before their inputs are full. What else is empty where
texts are short is `data.seq_len`.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from pretrain_jax import registry
from pretrain_jax.composition.build import Design
from pretrain_jax.data.pipeline import Stream

MOST = 0.5
"""Share of an axis that may be padding before a key is named."""
FULL = 0.9
"""Share of the answers' axis from which it is what ends a row."""
UNIT = 8


def advice(design: Design, stream: Stream, used: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A line for each axis of which most is padding and that a key can change.

    used: tokens of each of some rows, int [rows], by axis.
    """
    answers = "L" if "M" in stream.budgets else "P"
    shares = {axis: float(np.mean(n)) / stream.budgets[axis] for axis, n in used.items()}
    key = answers_key(design)
    for axis, share in shares.items():
        if 1 - share <= MOST:
            continue
        size, said = stream.budgets[axis], f"{1 - share:.0%} of axis {axis} is padding"
        most = rounded(float(np.quantile(used[axis], 0.98)))
        if axis == answers and key and most < size:
            cost = cut(design, stream, most)
            yield f"{said}: {option(key, most)}, now {size}, holds what is there{cost}"
        elif axis != answers and shares.get(answers, 0.0) > FULL:
            if key:  # as many answers as full rows have
                value = rounded(stream.budgets[answers] / share)
                yield f"{said}, for answers end the row: {option(key, value)} has room for more"
        elif axis not in (answers, "P", "E") and most < size:
            yield f"{said}: {option('data.seq_len', most)}, now {size}, holds what is there"


def rounded(size: float) -> int:
    """Up to the next multiple of 8."""
    return math.ceil(size / UNIT) * UNIT


def option(key: str, value: int) -> str:
    """As a command line has it; a member of a mixture has its options in `data.mixture`."""
    return f"--config.{key}={value}" if "." in key else f"{key} = {value}"


def answers_key(design: Design) -> str:
    """Which key is the room for answers; "" where there is none."""
    for member in design.task.members:
        module = registry.load("objectives", member.name, "objective.name")
        if "targets_length" in registry.options(module.build):
            own = member.name == design.spec.objective.name and not member.options
            return "objective.targets_length" if own else f"targets_length of {member}"
    return ""


def cut(design: Design, stream: Stream, size: int) -> str:
    """What a smaller room costs: the share of answers that are longer."""
    longer = [
        np.mean(member.examples.length[:, 1] + 1 > size)
        for member, what in zip(stream.members, design.task.members, strict=True)
        if what.objective.arrangement == "texts"
    ]
    return f" and cuts {max(longer):.1%} of the answers" if longer and max(longer) else ""
