"""Clipping by the global norm."""

import jax
import jax.numpy as jnp

from pretrain_jax.errors import ConfigError
from pretrain_jax.optim.trees import Tree


def clip_by_norm(grads: Tree, norm: jax.Array, max_norm: float) -> Tree:
    """`grads` scaled down to a global norm of `max_norm` where `norm`, theirs, is larger.

    The caller has the norm already, for its metrics. A `max_norm` of 0 means no clipping.
    Gradients with a global norm of 4 are multiplied by 0.25 under a `max_norm` of 1.
    """
    if max_norm < 0:
        raise ConfigError(
            f"optimizer.clip_norm must be 0 (no clipping) or more; received {max_norm}"
        )
    if max_norm == 0:
        return grads
    factor = jnp.where(norm > max_norm, max_norm / norm, 1.0)
    return jax.tree.map(lambda g: g * factor.astype(g.dtype), grads)
