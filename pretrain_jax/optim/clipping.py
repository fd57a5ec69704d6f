"""Clipping by the global norm."""

import jax
import jax.numpy as jnp

from pretrain_jax.optim.trees import Tree


def clip_by_norm(grads: Tree, norm: jax.Array, max_norm: float) -> Tree:
    """Scales `grads` down to a global norm of `max_norm` where `norm`, their own, is larger.

    The caller passes the norm because its metrics need it anyway. A `max_norm` of 0 turns clipping
    off. Under a `max_norm` of 1, gradients with a global norm of 4 are multiplied by 0.25.
    """
    if max_norm == 0:
        return grads
    factor = jnp.where(norm > max_norm, max_norm / norm, 1.0)
    return jax.tree.map(lambda g: g * factor.astype(g.dtype), grads)


def clip_options(*, clip_norm: float = 1.0) -> float:
    """The value of `clip_norm`.

    clip_norm: global norm that gradients are clipped to; 0 = no clipping
    """
    return clip_norm
