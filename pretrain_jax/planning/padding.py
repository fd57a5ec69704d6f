"""Which config key reduces padding, for rows that are mostly padding.

Text-to-text answers have an axis of their own, `objective.targets_length`. If it is too large, it
stays empty; if it is too small, rows end before their inputs are full. On the other axes, short
texts leave padding, and `data.seq_len` sets their size.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from pretrain_jax import registry
from pretrain_jax.composition.build import Design
from pretrain_jax.data.pipeline import Stream
from pretrain_jax.rounding import round_up

MAX_PADDING = 0.5
"""Share of an axis that may be padding without advice."""
FULL = 0.9
"""Filled share of the answers' axis at which answers, not inputs, end the row."""
MULTIPLE = 8
"""Proposed lengths are multiples of this."""


def advice(design: Design, stream: Stream, used: Mapping[str, np.ndarray]) -> Iterator[str]:
    """One line for each axis that is mostly padding and that a config key can change.

    used: filled slots of some sampled rows, int [rows], by axis.
    """
    answer_axis = "L" if "M" in stream.budgets else "P"
    filled = {axis: float(np.mean(n)) / stream.budgets[axis] for axis, n in used.items()}
    key = targets_length_key(design)
    for axis, share in filled.items():
        if 1 - share <= MAX_PADDING:
            continue
        size, finding = stream.budgets[axis], f"{1 - share:.0%} of axis {axis} is padding"
        enough = int(round_up(np.ceil(np.quantile(used[axis], 0.98)), MULTIPLE))
        if axis == answer_axis and key and enough < size:
            cost = truncation_cost(design, stream, enough)
            yield f"{finding}: {format_option(key, enough)}, now {size}, is enough{cost}"
        elif axis != answer_axis and filled.get(answer_axis, 0.0) > FULL:
            if key:  # as many answers as full rows have
                value = int(round_up(np.ceil(stream.budgets[answer_axis] / share), MULTIPLE))
                option = format_option(key, value)
                yield f"{finding} because the answers' axis is full: {option} has room for more"
        elif axis not in (answer_axis, "P", "E") and enough < size:
            yield f"{finding}: {format_option('data.seq_len', enough)}, now {size}, is enough"


def format_option(key: str, value: int) -> str:
    """The key as a command line option; a mixture member's option is set in `data.mixture`."""
    return f"--config.{key}={value}" if "." in key else f"{key} = {value}"


def targets_length_key(design: Design) -> str:
    """The key that sets the length of the answers' axis; "" if no objective has one."""
    for member in design.task.members:
        module = registry.load("objectives", member.name, "objective.name")
        if "targets_length" in registry.options(module.build):
            in_section = member.name == design.spec.objective.name and not member.options
            return "objective.targets_length" if in_section else f"targets_length of {member}"
    return ""


def truncation_cost(design: Design, stream: Stream, size: int) -> str:
    """The share of answers that an axis of `size` slots truncates, as a clause; "" for 0."""
    longer = [
        np.mean(rows.examples.length[:, 1] + 1 > size)
        for rows, member in zip(stream.members, design.task.members, strict=True)
        if member.objective.arrangement == "texts"
    ]
    return f" and truncates {max(longer):.1%} of the answers" if longer and max(longer) else ""
