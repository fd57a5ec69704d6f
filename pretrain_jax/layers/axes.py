"""Logical axis names of parameters and activations.

A model names what an axis is; sharding/rules.py alone says over which mesh axes it is split.

parameters   layers, width, heads, head_width, feed_forward, vocabulary, positions, types, buckets,
             classes, and hidden for a side that is never split
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
    """What sharding/rules.py knows of a mesh."""

    def constrain(self, x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        """`x`, split over the mesh as its axes say."""
        ...

    def mapped(
        self, function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: Any
    ) -> Callable[..., Any]:
        """`function` over each device's own part of its arrays."""
        ...

    def ways(self, axis: str) -> int:
        """Into how many parts an axis is split."""
        ...


_placement: ContextVar[Placement | None] = ContextVar("placement", default=None)


@contextmanager
def placing(placement: Placement):
    """While tracing inside this context, `constrain` and `ways` ask `placement`."""
    token = _placement.set(placement)
    try:
        yield
    finally:
        _placement.reset(token)


def constrain(x: jax.Array, *axes: str) -> jax.Array:
    """`x` with its axes named, so that the compiler keeps it split as the rule table says.

    Outside of `placing` (in tests, or on one device) this is `x` itself.
    """
    placement = _placement.get()
    return x if placement is None else placement.constrain(x, axes)


def mapped(
    function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: tuple[str, ...]
) -> Callable[..., Any]:
    """`function` of arrays with these axes, run by every device on its own part: for kernels,
    which the compiler cannot split. Outside of `placing` it is `function` itself."""
    placement = _placement.get()
    return function if placement is None else placement.mapped(function, inputs, output)


def ways(*axes: str) -> int:
    """Into how many parts an array with these axes is split; 1 outside of `placing`."""
    placement = _placement.get()
    return 1 if placement is None else math.prod(placement.ways(axis) for axis in axes)


def named(init: Callable[..., Any], *axes: str) -> Callable[..., Any]:
    """An initializer whose parameter carries the logical names of its axes."""
    return nn.with_partitioning(init, axes)
