"""Solved examples before an item: few-shot prompts."""

import zlib
from collections.abc import Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._base import Prompting

BETWEEN = "\n\n"


class Example(Protocol):
    """An item that can be an example."""

    @property
    def context(self) -> str: ...
    @property
    def solved(self) -> str:
        """The context and its answer."""
        ...


def add_shots(items: Sequence[Example], pool: Sequence[Example], prompting: Prompting) -> list[str]:
    """The context of each item after `prompting.shots` solved examples.

    pool: where examples come from: other items of the same group. They depend on seed and item
    alone. Raises DataError for a group that is too small.
    """
    if not prompting.shots:
        return [item.context for item in items]
    groups: dict[str, list[Example]] = {}
    for example in pool:
        groups.setdefault(group_of(example), []).append(example)
    contexts = []
    for item in items:
        rng = np.random.default_rng((prompting.seed, zlib.crc32(item.solved.encode())))
        examples = draw(groups.get(group_of(item), []), item, prompting.shots, rng)
        contexts.append(BETWEEN.join([*(x.solved for x in examples), item.context]))
    return contexts


def group_of(example: Any) -> str:
    return getattr(example, "group", "")


def draw(
    pool: Sequence[Example], item: Example, count: int, rng: np.random.Generator
) -> list[Example]:
    """`count` examples that are not the item itself. Raises DataError without as many."""
    shuffled = (pool[i] for i in rng.permutation(len(pool)))
    others = list(islice((x for x in shuffled if x.solved != item.solved), count))
    if len(others) < count:
        raise DataError(
            f"--shots={count} needs as many examples of the item's group beside it; there are "
            f"{len(others)}. Use fewer, or add a file shots.jsonl to the folder of the task"
        )
    return others
