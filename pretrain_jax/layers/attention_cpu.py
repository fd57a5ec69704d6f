"""CPU backend: the same numbers as the plain backend, in the order that XLA runs fastest on a CPU.

Four things differ from `attention_plain.attend` (measured in docs/performance.md):

- the mask is a float array of 0 and -inf, made once per stack and added to the scores, because
  XLA does not vectorise a select inside softmax;
- a causal query block skips the keys after it, which saves up to half of the work;
- the softmax's sum divides the output [L, K] instead of the probabilities [L, L];
- the backward pass is written by hand and avoids batched products whose left operand is
  transposed in memory: they run at half speed.

The queries of all heads that share a key head are the rows of one matrix: no key is repeated, and
the products are fewer and larger.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.layers.attention_plain import split_heads
from pretrain_jax.layers.masks import CrossMask, Mask

BLOCK = 128
"""Queries per causal block."""


def make_kernel_mask(mask: Mask | CrossMask) -> jax.Array:
    """float32 [B, 1, L, M]: 0 or -inf, to add to the scores."""
    return mask.additive()


def unsupported_reason(mask: Mask | CrossMask, bias: jax.Array | None, q_BLHK: jax.Array) -> str:
    """Always "": this backend supports everything but dropout."""
    return ""


def attend(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    mask_B1LM: jax.Array,
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
) -> jax.Array:
    """softmax(scale q k' + mask + bias) v: [B, L, H, K], computed in float32.

    The mask of 0 and -inf is a constant; `bias`, [H, L, M] or [B, H, L, M], has a gradient.
    `causal` promises that the mask is -inf for every key after its query.
    """
    q, k, v = (x.astype(jnp.float32) for x in (q_BLHK, k_BMGK, v_BMGK))
    out: Any = _attend(q * scale, k, v, mask_B1LM, bias, causal)
    return out.astype(v_BMGK.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attend(q, k, v, mask, bias, causal):
    return _forward(q, k, v, mask, bias, causal)[0]


def _forward(q, k, v, mask, bias, causal):
    q_BHLK, k_BGMK, v_BGMK = rows(q), rows(k), rows(v)
    heads, key_heads = q.shape[2], k.shape[2]
    weights, inverses, outs = [], [], []
    for start, stop, visible in blocks(q.shape[1], k.shape[1], causal):
        queries = regroup(q_BHLK[:, :, start:stop], key_heads)
        scores = jnp.einsum("bgnk,bgmk->bgnm", queries, k_BGMK[:, :, :visible])
        scores = regroup(scores, heads) + mask[:, :, start:stop, :visible]
        if bias is not None:
            scores = scores + bias[..., start:stop, :visible]
        weight = jnp.exp(scores - scores.max(-1, keepdims=True))  # exactly 0 where masked
        inverse = 1 / weight.sum(-1, keepdims=True)
        out = jnp.einsum("bgnm,bgmk->bgnk", regroup(weight, key_heads), v_BGMK[:, :, :visible])
        out = regroup(out, heads) * inverse
        for parts, part in ((weights, weight), (inverses, inverse), (outs, out)):
            parts.append(part)
    out = jnp.swapaxes(concatenate(outs, 2), 1, 2)
    return out, (q, k, v, bias, weights, concatenate(inverses, 2), out)


def _backward(causal, saved, d_out):
    q, k, v, bias, weights, inverse, out = saved
    # Without this, the compiler shares transposes with the forward pass and keeps them alive.
    q, k, v, out, d_out = jax.lax.optimization_barrier((q, k, v, out, d_out))
    keys, heads, key_heads = k.shape[1], q.shape[2], k.shape[2]
    k_BGMK, v_BGMK, q_columns = rows(k), rows(v), columns(q, key_heads)
    delta = jnp.swapaxes(jnp.sum(d_out * out, -1), 1, 2)[..., None] * inverse
    d_rows = rows(d_out) * inverse
    d_columns = columns(d_out, key_heads) * columns(rows(inverse), key_heads)
    d_q, d_k, d_v, d_bias = [], 0.0, 0.0, []
    for (start, stop, visible), weight in zip(
        blocks(q.shape[1], keys, causal), weights, strict=True
    ):
        part = regroup(d_rows[:, :, start:stop], key_heads)
        d_scores = jnp.einsum("bgnk,bgmk->bgnm", part, v_BGMK[:, :, :visible])
        d_scores = weight * (regroup(d_scores, heads) - delta[:, :, start:stop])
        padding = ((0, 0), (0, 0), (0, 0), (0, keys - visible))
        if bias is not None:
            part = d_scores if bias.ndim == 4 else d_scores.sum(0)
            d_bias.append(jnp.pad(part, padding[-bias.ndim :]))
        d_scores, weight = regroup(d_scores, key_heads), regroup(weight, key_heads)
        part = jnp.einsum("bgnm,bgmk->bgnk", d_scores, k_BGMK[:, :, :visible])
        d_q.append(regroup(part, heads))
        part = jnp.einsum("bgkn,bgnm->bgkm", join(q_columns[..., start:stop]), d_scores)
        d_k = d_k + jnp.pad(part, padding)
        part = jnp.einsum("bgkn,bgnm->bgkm", join(d_columns[..., start:stop]), weight)
        d_v = d_v + jnp.pad(part, padding)
    back = lambda x_BHKL: jnp.transpose(x_BHKL, (0, 3, 1, 2))  # noqa: E731
    d_bias = concatenate(d_bias, -2) if d_bias else None
    return jnp.swapaxes(concatenate(d_q, 2), 1, 2), back(d_k), back(d_v), None, d_bias


_attend.defvjp(_forward, _backward)


def blocks(length: int, keys: int, causal: bool) -> list[tuple[int, int, int]]:
    """Returns (start, stop, visible): queries start .. stop - 1 attend to the first `visible` keys.

    >>> blocks(300, 300, True)
    [(0, 128, 128), (128, 256, 256), (256, 300, 300)]
    """
    if not causal:
        return [(0, length, keys)]
    stops = [min(start + BLOCK, length) for start in range(0, length, BLOCK)]
    return [(stop - (stop - 1) % BLOCK - 1, stop, stop) for stop in stops]


def rows(x_BLHK: jax.Array) -> jax.Array:
    """[B, L, H, K] -> [B, H, L, K]."""
    return jnp.swapaxes(x_BLHK, 1, 2)


def regroup(x_BHLK: jax.Array, heads: int) -> jax.Array:
    """[B, H, L, K] -> [B, heads, H L / heads, K]: joins the rows of heads that share keys, or
    separates them again."""
    return x_BHLK.reshape(len(x_BHLK), heads, -1, x_BHLK.shape[-1])


def columns(x_BLHK: jax.Array, key_heads: int) -> jax.Array:
    """[B, L, H, K] -> [B, G, K, R, L] with R = H / G; without the axis R if it is 1."""
    return jnp.einsum("blg...k->bgk...l", split_heads(x_BLHK, 2, key_heads))


def join(columns: jax.Array) -> jax.Array:
    """[B, G, K, R, L] -> [B, G, K, R L]."""
    return columns.reshape(*columns.shape[:3], -1)


def concatenate(parts: list[Any], axis: int) -> jax.Array:
    """Concatenates the parts; a single part is returned as it is."""
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis)
