"""Arrays that all layers of a stack share: computed once per stack, passed to every layer."""

from typing import Any

import jax
from flax import struct

from pretrain_jax.layers.masks import CrossMask, Mask


class Context(struct.PyTreeNode):
    """Each sub-layer reads the fields that it uses."""

    mask: Mask
    train: bool = struct.field(pytree_node=False)
    rotation: tuple[jax.Array, jax.Array] | None = None
    """cos and sin, float32 [B, L, K], for rotary positions."""
    bias: jax.Array | None = None
    """float32 [H, L, L], added to the attention scores (T5's relative buckets)."""
    distances: jax.Array | None = None
    """float32 [L, D]: Transformer-XL's sinusoid of each distance 0 .. L - 1."""
    attention_backend: str = struct.field(pytree_node=False, default="plain")
    """Which of attention.BACKENDS computes attention."""
    kernel_mask: Any = None
    """`mask` in the backend's own format, made once per stack."""
    memory: jax.Array | None = None
    """[B, M, D], the input of cross attention; None in a stack without one."""
    memory_mask: CrossMask | None = None
    memory_kernel_mask: Any = None
    """`memory_mask` in the backend's own format."""
