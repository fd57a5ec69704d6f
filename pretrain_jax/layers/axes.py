"""Logical axis names of parameters and activations.

A model names each axis; only sharding/rules.py decides over which mesh axes it is split.

A parameter that has no axis names is replicated.

parameters   layers, width, heads, head_width, feed_forward, vocabulary, positions, types, buckets,
             classes, and hidden for an axis that is never split
activations  batch, length, hidden, heads, head_width, feed_forward, vocabulary
"""

import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import flax.linen as nn
import jax


class AxisRules(Protocol):
    """How logical axes are split over a mesh; sharding/rules.py implements it."""

    def constrain(self, x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        """Returns `x`, split over the mesh according to its axes."""
        ...

    def map_shards(
        self, function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: Any
    ) -> Callable[..., Any]:
        """Returns `function`, run by each device on its own shard of the arrays."""
        ...

    def num_shards(self, axis: str) -> int:
        """Returns the number of shards along an axis."""
        ...


_axis_rules: ContextVar[AxisRules | None] = ContextVar("axis_rules", default=None)


@contextmanager
def use_axis_rules(rules: AxisRules):
    """Inside this context, `constrain`, `map_shards` and `num_shards` use `rules` while tracing."""
    token = _axis_rules.set(rules)
    try:
        yield
    finally:
        _axis_rules.reset(token)


def constrain(x: jax.Array, *axes: str) -> jax.Array:
    """Names the axes of `x`, so that the compiler keeps it split according to the rules.

    Outside `use_axis_rules` (in tests, or on one device) it returns `x` unchanged.
    """
    rules = _axis_rules.get()
    return x if rules is None else rules.constrain(x, axes)


def map_shards(
    function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: tuple[str, ...]
) -> Callable[..., Any]:
    """Returns `function`, run by every device on its own shard of arrays with these axes.

    It is for kernels, which the compiler cannot split. Outside `use_axis_rules` it returns
    `function` unchanged.
    """
    rules = _axis_rules.get()
    return function if rules is None else rules.map_shards(function, inputs, output)


def num_shards(*axes: str) -> int:
    """Returns the number of shards of an array with these axes; 1 outside `use_axis_rules`."""
    rules = _axis_rules.get()
    return 1 if rules is None else math.prod(rules.num_shards(axis) for axis in axes)


def with_axes(init: Callable[..., Any], *axes: str) -> Callable[..., Any]:
    """Returns `init`, boxing each parameter with the logical names of its axes."""
    return nn.with_partitioning(init, axes)


def is_box(x: Any) -> bool:
    """Whether a node of a tree is a parameter that is boxed with the names of its axes."""
    return isinstance(x, nn.Partitioned)


def box_all(params: Any) -> Any:
    """Boxes every leaf that has no axis names as replicated: its names are None.

    Parameters of flax's own modules, such as nn.GRUCell, have no axis names.
    """

    def box(x: Any) -> nn.Partitioned:
        return x if is_box(x) else nn.Partitioned(x, (None,) * x.ndim)

    return jax.tree.map(box, params, is_leaf=is_box)
