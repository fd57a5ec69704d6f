"""What every layer of a stack shares: computed once for the stack, passed to all its layers."""

from typing import Any

import jax
from flax import struct

from pretrain_jax.layers.masks import CrossMask, Mask


class Context(struct.PyTreeNode):
    """One small pytree; a sub-layer reads what it needs."""

    mask: Mask
    train: bool = struct.field(pytree_node=False)
    rotation: tuple[jax.Array, jax.Array] | None = None
    """cos and sin, float32 [B, L, K], of rotary positions."""
    bias: jax.Array | None = None
    """float32 [H, L, L], added to the attention scores (T5's relative buckets)."""
    distances: jax.Array | None = None
    """float32 [L, D]: Transformer-XL's sinusoid of each distance 0 .. L - 1."""
    form: str = struct.field(pytree_node=False, default="plain")
    """In which of attention.FORMS attention is computed."""
    view: Any = None
    """The mask as that form wants it, made once for the stack."""
    memory: jax.Array | None = None
    """[B, M, D], what cross attention reads; None in a stack that has nothing to read."""
    memory_mask: CrossMask | None = None
    memory_view: Any = None
    """That mask as the form wants it."""
