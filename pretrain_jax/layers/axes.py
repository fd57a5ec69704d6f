"""Logical axis names of parameters and activations.

A model names what an axis is; parallel/rules.py alone says over which mesh axes it is split.

parameters   layers, width, heads, head_width, feed_forward, vocabulary, positions, buckets
activations  batch, length, hidden, heads, head_width, feed_forward, vocabulary
"""

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import flax.linen as nn
import jax

_place: ContextVar[Callable[[jax.Array, tuple[str, ...]], jax.Array] | None] = ContextVar(
    "place", default=None
)


@contextmanager
def placing(place: Callable[[jax.Array, tuple[str, ...]], jax.Array]):
    """While tracing inside this context, `constrain` calls `place(x, axes)`."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def constrain(x: jax.Array, *axes: str) -> jax.Array:
    """`x` with its axes named, so that the compiler keeps it split as the rule table says.

    Outside of `placing` (in tests, or on one device) this is `x` itself.
    """
    place = _place.get()
    return x if place is None else place(x, axes)


def named(init: Callable[..., Any], *axes: str) -> Callable[..., Any]:
    """An initializer whose parameter carries the logical names of its axes."""
    return nn.with_partitioning(init, axes)
