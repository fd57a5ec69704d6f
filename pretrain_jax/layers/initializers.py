"""Initializers that compare by value, so that equal models share one compilation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Normal:
    """N(0, std^2)."""

    std: float

    def __call__(self, key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        return self.std * jax.random.normal(key, shape, dtype)


@dataclass(frozen=True)
class TruncatedNormal:
    """N(0, std^2), redrawn beyond two std, as in TensorFlow and BERT; the result has 0.88 std."""

    std: float

    def __call__(self, key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        return self.std * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


@dataclass(frozen=True)
class Uniform:
    """Uniform in +-sqrt(3) std. Glorot uniform has std = sqrt(2 / (inputs + outputs))."""

    std: float

    def __call__(self, key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        limit = 3**0.5 * self.std
        return jax.random.uniform(key, shape, dtype, -limit, limit)
