"""Attention on GPUs: cuDNN's flash attention, which keeps no [B, H, L, M] scores in memory.

Where rows are one text each, it gets no mask but the word "causal". Otherwise segments and
prefixes are a mask [B, 1, L, M], and T5's bias is one more addend of the scores, with a gradient.

Where devices share a row, each looks from its own queries at all keys, through its own part of the
mask: jax splits cuDNN's attention over rows and heads, but not over places.
"""

from functools import partial

import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import mapped, ways
from pretrain_jax.layers.masks import CrossMask, Mask

IMPLEMENTATION = "cudnn"
"""Of jax.nn.dot_product_attention."""
LEAST = -float(1 << 41)
"""Stands for -inf beside a bias, as in jax's own masks: cuDNN cannot subtract two numbers that are
much larger (jax._src.cudnn, get_large_negative_number)."""
MOST_WIDTH = 128
"""Of a head, on every GPU since Ampere; Hopper takes 256."""


def view(mask: Mask | CrossMask) -> jax.Array | None:
    """bool [B, 1, L, M], B 1 where rows do not differ; None where "causal" says it all, which it
    does not of queries that start in mid-row."""
    return None if mask.by_order and ways("length") == 1 else mask.seen()


def refusal(mask: Mask | CrossMask, bias: jax.Array | None, q_BLHK: jax.Array) -> str:
    """Another dtype than bfloat16, a head width or, beside a mask or bias, a length that cuDNN does
    not take (jax._src.cudnn, check_is_flash_attention)."""
    if q_BLHK.dtype not in (jnp.bfloat16, jnp.float16):
        return f"cuDNN takes bfloat16, and train.dtype is {q_BLHK.dtype.name}"
    width = q_BLHK.shape[-1]
    if width % 8 or width > MOST_WIDTH:
        return f"cuDNN takes heads of a multiple of 8 up to {MOST_WIDTH}, not of {width}"
    lengths = (mask.segments.shape[1] // ways("length"), mask.keys.shape[1])
    if (bias is not None or view(mask) is not None) and any(length % 2 for length in lengths):
        return "beside a mask or bias cuDNN takes even lengths, not {} and {}".format(*lengths)
    return ""


def attend(
    q_BLHK: jax.Array,
    k_BMHK: jax.Array,
    v_BMHK: jax.Array,
    view: jax.Array | None,
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
) -> jax.Array:
    """softmax(scale q k' + bias, where seen) v: [B, L, H, K].

    The bias is [H, L, M] (T5's) or [B, H, L, M] (Transformer-XL's).
    """
    bias = None if bias is None else bias.reshape(-1, *bias.shape[-3:])
    look = partial(_look, causal=causal, scale=scale)
    if ways("length") > 1:
        queries, keys = (("batch", places, "heads", "head_width") for places in ("length", "keys"))
        of_bias = (rows(bias), "heads", "length", "keys")
        of_view = (rows(view), None, "length", "keys")
        look = mapped(look, [queries, keys, keys, of_bias, of_view], queries)
    return look(q_BLHK, k_BMHK, v_BMHK, bias, view)


def rows(x: jax.Array | None) -> str | None:
    """The name of the first axis: None where it is one for all rows."""
    return None if x is None or len(x) == 1 else "batch"


def _look(q_BLHK, k_BMHK, v_BMHK, bias, view, causal, scale):
    if bias is not None:
        if view is not None:
            # Joined before it is rounded, so that its gradient is summed over rows in float32.
            bias, view, causal = jnp.where(view, bias, LEAST), None, False
        bias = bias.astype(q_BLHK.dtype)
    return jax.nn.dot_product_attention(
        q_BLHK,
        k_BMHK,
        v_BMHK,
        bias=bias,
        mask=view,
        scale=scale,
        is_causal=causal and view is None,
        implementation=IMPLEMENTATION,
    )
