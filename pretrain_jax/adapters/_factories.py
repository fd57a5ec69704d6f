"""Changes the factories of a model: a module is a tree of factories that compare by value."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from pretrain_jax.layers.factories import Factory
from pretrain_jax.layers.stacks import BuildContext


def change_factories(value: Any, change: Callable[[Factory], Factory]) -> Any:
    """`value` with change(factory) in place of every factory in it, the innermost first.

    Looks into modules, dataclasses and tuples, but not into the BuildContext, which has the heads
    of the objective.
    """
    if isinstance(value, BuildContext):
        return value
    if isinstance(value, Factory):
        inner = tuple((name, change_factories(part, change)) for name, part in value.arguments)
        return change(Factory(value.module, inner))
    if isinstance(value, tuple):
        return tuple(change_factories(part, change) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        if isinstance(value, nn.Module):
            fields = [name for name in fields if name not in ("name", "parent")]
        parts = {name: change_factories(getattr(value, name), change) for name in fields}
        return dataclasses.replace(value, **parts)
    return value
