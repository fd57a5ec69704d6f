"""GPU backend: cuDNN's flash attention, which keeps no [B, H, L, M] scores in memory.

Query heads that share keys need no copies of them: the kernel takes fewer key heads than heads.

When every row is one segment, cuDNN gets only its causal flag. Otherwise segments and prefixes are
a mask [B, 1, L, M], and T5's bias is added to the scores and has a gradient.

When devices share a row, each attends from its own queries to all keys, with its own part of the
mask: jax splits cuDNN's attention over rows and heads, but not over positions.
"""

from functools import partial

import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import map_shards, num_shards
from pretrain_jax.layers.masks import CrossMask, Mask

IMPLEMENTATION = "cudnn"
"""The `implementation` of jax.nn.dot_product_attention."""
MASKED_SCORE = -float(1 << 41)
"""Replaces -inf in a bias, as in jax's own masks: cuDNN cannot subtract two numbers that are much
larger (jax._src.cudnn, get_large_negative_number)."""
MAX_HEAD_WIDTH = 128
"""Supported by cuDNN on every GPU since Ampere; Hopper supports 256."""


def make_kernel_mask(mask: Mask | CrossMask) -> jax.Array | None:
    """bool [B, 1, L, M], B = 1 when all rows have the same mask; None if the causal flag suffices.

    The flag does not suffice when devices share a row: their queries start in the middle of it.
    """
    return None if mask.is_purely_causal and num_shards("length") == 1 else mask.visible()


def unsupported_reason(mask: Mask | CrossMask, bias: jax.Array | None, q_BLHK: jax.Array) -> str:
    """cuDNN needs a 16-bit dtype, certain head widths and, with a mask or bias, even lengths
    (jax._src.cudnn, check_is_flash_attention)."""
    if q_BLHK.dtype not in (jnp.bfloat16, jnp.float16):
        return f"cuDNN needs bfloat16; train.dtype is {q_BLHK.dtype.name}"
    width = q_BLHK.shape[-1]
    if width % 8 or width > MAX_HEAD_WIDTH:
        return f"cuDNN needs heads of a multiple of 8 up to {MAX_HEAD_WIDTH}; the width is {width}"
    lengths = (mask.segments.shape[1] // num_shards("length"), mask.keys.shape[1])
    if (bias is not None or make_kernel_mask(mask) is not None) and any(
        length % 2 for length in lengths
    ):
        return "with a mask or bias cuDNN needs even lengths; they are {} and {}".format(*lengths)
    return ""


def attend(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    kernel_mask: jax.Array | None,
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
) -> jax.Array:
    """softmax(scale q k' + bias) v over visible keys: [B, L, H, K].

    The bias is [H, L, M] (T5) or [B, H, L, M] (Transformer-XL).
    """
    bias = None if bias is None else bias.reshape(-1, *bias.shape[-3:])
    kernel = partial(_attend, causal=causal, scale=scale)
    if num_shards("length") > 1:
        queries, keys = (("batch", axis, "heads", "head_width") for axis in ("length", "keys"))
        bias_axes = (row_axis(bias), "heads", "length", "keys")
        mask_axes = (row_axis(kernel_mask), None, "length", "keys")
        kernel = map_shards(kernel, [queries, keys, keys, bias_axes, mask_axes], queries)
    return kernel(q_BLHK, k_BMGK, v_BMGK, bias, kernel_mask)


def row_axis(x: jax.Array | None) -> str | None:
    """The name of the first axis; None when all rows share one entry."""
    return None if x is None or len(x) == 1 else "batch"


def _attend(q_BLHK, k_BMGK, v_BMGK, bias, mask, causal, scale):
    if bias is not None:
        if mask is not None:
            # Merged before rounding, so that the gradient is summed over rows in float32.
            bias, mask, causal = jnp.where(mask, bias, MASKED_SCORE), None, False
        bias = bias.astype(q_BLHK.dtype)
    return jax.nn.dot_product_attention(
        q_BLHK,
        k_BMGK,
        v_BMGK,
        bias=bias,
        mask=mask,
        scale=scale,
        is_causal=causal and mask is None,
        implementation=IMPLEMENTATION,
    )
