"""Arrays that all layers of a stack share: computed once per stack, passed to every layer."""

from typing import Any

import jax
from flax import struct

from pretrain_jax.layers.masks import CrossMask, Mask, PastMask


class Context(struct.PyTreeNode):
    """Each sub-layer reads the fields that it uses."""

    mask: Mask | PastMask
    train: bool = struct.field(pytree_node=False)
    tokens: jax.Array | None = None
    """int32 [B, L]: the ids of the stream; None for a memory. Negative ones are places that an
    adapter adds (objectives/_places.py)."""
    rotation: tuple[jax.Array, jax.Array] | None = None
    """cos and sin, float32 [B, L, K], for rotary positions."""
    bias: jax.Array | None = None
    """float32 [H, L, L], or [B, H, N, S + N] with a cache, added to the attention scores (T5's
    relative buckets)."""
    distances: jax.Array | None = None
    """float32 [L, D]: Transformer-XL's sinusoid of each distance 0 .. L - 1; as many as the cache
    has slots, if that is more."""
    slots: int = struct.field(pytree_node=False, default=0)
    """Slots of the cache that this call fills or reads; 0 = no cache."""
    attention_backend: str = struct.field(pytree_node=False, default="plain")
    """Which of attention.BACKENDS computes attention."""
    kernel_mask: Any = None
    """`mask` in the backend's own format, made once per stack."""
    memory: jax.Array | None = None
    """[B, M, D], the input of cross attention; None in a stack without one, and with a cache, which
    has the memory's keys and values."""
    memory_mask: CrossMask | None = None
    """None in a stack without cross attention."""
    memory_kernel_mask: Any = None
    """`memory_mask` in the backend's own format."""
