"""Plain backend: for any device, mask, bias and dtype, and with dropout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.layers.masks import CrossMask, Mask


def make_kernel_mask(mask: Mask | CrossMask) -> Mask | CrossMask:
    """Returns the mask unchanged: computed where it is used, it is fused and takes no memory."""
    return mask


def unsupported_reason(mask: Mask | CrossMask, bias: jax.Array | None, q_BLHK: jax.Array) -> str:
    """Always "": this backend supports everything."""
    return ""


def attend(
    q_BLHK: jax.Array,
    k_BMHK: jax.Array,
    v_BMHK: jax.Array,
    kernel_mask: Mask | CrossMask,
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
    drop: Any = lambda p: p,
) -> jax.Array:
    """softmax(scale q k' + bias) v over visible keys: [B, L, H, K].

    The bias is [H, L, M] (T5) or [B, H, L, M] (Transformer-XL). `drop` acts on the probabilities.
    Masked probabilities are exactly 0, so each example of a packed row has the same output as in a
    row alone.
    """
    scores = jnp.einsum("blhk,bmhk->bhlm", q_BLHK, k_BMHK, preferred_element_type=jnp.float32)
    scores = scores * scale
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(kernel_mask.visible(), scores, -jnp.inf)
    probabilities = drop(jax.nn.softmax(scores, axis=-1).astype(v_BMHK.dtype))
    return jnp.einsum("bhlm,bmhk->blhk", probabilities, v_BMHK)


def attend_cached(
    q_BNHK: jax.Array,
    parts: Sequence[tuple[jax.Array, jax.Array]],
    mask: jax.Array,
    bias: jax.Array | None = None,
    scale: float = 1.0,
) -> jax.Array:
    """`attend` of few queries to keys and values in several parts: [B, N, H, K].

    parts: keys and values [B, H, S, K] of each part, such as a cache and new positions. Only their
    scores are joined, so a cache is never copied. With heads first, the products read it in order:
    8 times faster on a CPU than [B, S, H, K].
    mask: bool [B, 1, N, sum of S]. bias: [B, H, N, sum of S].
    """
    q = jnp.swapaxes(q_BNHK, 1, 2)
    scores = jnp.concatenate(
        [jnp.einsum("bhnk,bhsk->bhns", q, k, preferred_element_type=jnp.float32) for k, _ in parts],
        axis=-1,
    )
    scores = scores * scale
    if bias is not None:
        scores = scores + bias
    probabilities = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), axis=-1)
    probabilities = probabilities.astype(parts[0][1].dtype)
    first, y = 0, 0.0
    for _, v in parts:
        part = probabilities[..., first : first + v.shape[2]]
        y = y + jnp.einsum("bhns,bhsk->bhnk", part, v)
        first += v.shape[2]
    return jnp.swapaxes(y, 1, 2)
