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


class Placement(Protocol):
    """How logical axes are split over a mesh; sharding/rules.py implements it."""

    def constrain(self, x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        """Returns `x`, split over the mesh according to its axes."""
        ...

    def mapped(
        self, function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: Any
    ) -> Callable[..., Any]:
        """Returns `function`, run by each device on its own shard of the arrays."""
        ...

    def ways(self, axis: str) -> int:
        """Returns the number of shards along an axis."""
        ...


_placement: ContextVar[Placement | None] = ContextVar("placement", default=None)


@contextmanager
def placing(placement: Placement):
    """Inside this context, `constrain`, `mapped` and `ways` use `placement` while tracing."""
    token = _placement.set(placement)
    try:
        yield
    finally:
        _placement.reset(token)


def constrain(x: jax.Array, *axes: str) -> jax.Array:
    """Names the axes of `x`, so that the compiler keeps it split according to the rules.

    Outside `placing` (in tests, or on one device) it returns `x` unchanged.
    """
    placement = _placement.get()
    return x if placement is None else placement.constrain(x, axes)


def mapped(
    function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: tuple[str, ...]
) -> Callable[..., Any]:
    """Returns `function`, run by every device on its own shard of arrays with these axes.

    For kernels, which the compiler cannot split. Outside `placing` it returns `function` unchanged.
    """
    placement = _placement.get()
    return function if placement is None else placement.mapped(function, inputs, output)


def ways(*axes: str) -> int:
    """Returns the number of shards of an array with these axes; 1 outside `placing`."""
    placement = _placement.get()
    return 1 if placement is None else math.prod(placement.ways(axis) for axis in axes)


def with_axes(init: Callable[..., Any], *axes: str) -> Callable[..., Any]:
    """Returns `init`, boxing each parameter with the logical names of its axes."""
    return nn.with_partitioning(init, axes)


def box_all(params: Any) -> Any:
    """Boxes every leaf that has no axis names as replicated: its names are None.

    Parameters of flax's own modules, such as nn.GRUCell, have no axis names.
    """

    def is_box(x: Any) -> bool:
        return isinstance(x, nn.Partitioned)

    def box(x: Any) -> nn.Partitioned:
        return x if is_box(x) else nn.Partitioned(x, (None,) * x.ndim)

    return jax.tree.map(box, params, is_leaf=is_box)
