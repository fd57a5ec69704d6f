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
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
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
    scores = score(q_BLHK, k_BMGK) * scale
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(kernel_mask.visible(), scores, -jnp.inf)
    return mix(drop(jax.nn.softmax(scores, axis=-1).astype(v_BMGK.dtype)), v_BMGK)


def attend_cached(
    q_BNHK: jax.Array,
    parts: Sequence[tuple[jax.Array, jax.Array]],
    mask: jax.Array,
    bias: jax.Array | None = None,
    scale: float = 1.0,
) -> jax.Array:
    """`attend` of few queries to keys and values in several parts: [B, N, H, K].

    parts: keys and values [B, G, S, K] of each part, such as a cache and new positions. Only their
    scores are joined, so a cache is never copied. With heads first, the products read it in order:
    8 times faster on a CPU than [B, S, G, K].
    mask: bool [B, 1, N, sum of S]. bias: [B, H, N, sum of S].
    """
    heads, key_heads = q_BNHK.shape[2], parts[0][0].shape[1]
    q = regroup(jnp.swapaxes(q_BNHK, 1, 2), key_heads)
    scores = jnp.concatenate(
        [jnp.einsum("bgnk,bgsk->bgns", q, k, preferred_element_type=jnp.float32) for k, _ in parts],
        axis=-1,
    )
    scores = regroup(scores, heads) * scale
    if bias is not None:
        scores = scores + bias
    probabilities = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), axis=-1)
    probabilities = regroup(probabilities.astype(parts[0][1].dtype), key_heads)
    first = 0
    y: Any = 0.0
    for _, v in parts:
        part = probabilities[..., first : first + v.shape[2]]
        y = y + jnp.einsum("bgns,bgsk->bgnk", part, v)
        first += v.shape[2]
    return jnp.swapaxes(regroup(y, heads), 1, 2)


def regroup(x_BHLK: jax.Array, heads: int) -> jax.Array:
    """[B, H, L, K] -> [B, heads, H L / heads, K]: joins the rows of heads that share keys, or
    separates them again."""
    return x_BHLK.reshape(len(x_BHLK), heads, -1, x_BHLK.shape[-1])


def score(q_BLHK: jax.Array, k_BMGK: jax.Array) -> jax.Array:
    """q . k for every query head and the key head that it shares: float32 [B, H, L, M]."""
    q = split_heads(q_BLHK, 2, k_BMGK.shape[2])
    product = "blg...k,bmgk->bg...lm"
    scores = jnp.einsum(product, q, k_BMGK, preferred_element_type=jnp.float32)
    return scores.reshape(len(q), q_BLHK.shape[2], *scores.shape[-2:])


def mix(p_BHLM: jax.Array, v_BMGK: jax.Array) -> jax.Array:
    """Sums of values, weighted with probabilities: [B, L, H, K]."""
    p = split_heads(p_BHLM, 1, v_BMGK.shape[2])
    y = jnp.einsum("bg...lm,bmgk->blg...k", p, v_BMGK)
    return y.reshape(*y.shape[:2], p_BHLM.shape[1], y.shape[-1])


def split_heads(x: jax.Array, axis: int, key_heads: int) -> jax.Array:
    """[..., H, ...] -> [..., G, R, ...] with R = H / G; without the axis R if it is 1.

    Query head h = g R + r shares key head g.
    """
    sharing = x.shape[axis] // key_heads
    sizes = (key_heads, sharing) if sharing > 1 else (key_heads,)
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])
