"""Initializers compared by value, so that equal models are one compilation."""

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
