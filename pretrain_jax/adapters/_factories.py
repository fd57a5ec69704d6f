"""Changes the factories of a model: a module is a tree of factories that compare by value."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import flax.linen as nn

from pretrain_jax.layers.factories import Factory, factory
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


def mix_in(mixin: type[nn.Module], made: Factory, **arguments: Any) -> Factory:
    """The factory of `made`'s class with a mixin in front of it, and with more arguments."""
    return factory(mixed(mixin, made.module), **{**dict(made.arguments), **arguments})


@cache
def mixed(mixin: type[nn.Module], module: type[nn.Module]) -> type[nn.Module]:
    """A class with a mixin in front; one class for each pair, so that factories compare."""
    name = f"{mixin.__name__}{module.__name__}"
    return type(name, (mixin, module), {"__module__": mixin.__module__})
