"""TPU backend: jax's own Pallas kernels, which keep no [B, H, L, M] scores in memory.

It uses splash attention, or flash attention when a bias is added to the scores (T5), since only
flash attention takes one. The kernel returns the bias's gradient [H, L, M] for each row, so rows
run one after another and their gradients are summed; a TPU core works on one row at a time anyway.

Splash attention takes fewer key heads than heads. Flash attention does not, so keys and values that
several heads share are repeated for it.

Prefix attention runs the kernel twice: causally, and with full attention among the positions of
each prefix. Positions of a prefix take the second result, all others the first.

Blocks are multiples of 128 lanes: other lengths are padded with positions of segment 0, to which
only padding attends.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import flash_attention as flash
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as splash,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as masks,
)

from pretrain_jax.layers.axes import map_shards, num_shards
from pretrain_jax.layers.masks import CrossMask, Mask

BLOCKS = (512, 384, 256, 128)
"""Candidate block lengths; the first that divides is used. MaxText's recipes use 512."""
QUERIES = ("batch", "length", "heads", "head_width")
KEYS = ("batch", "keys", "heads", "head_width")


def make_kernel_mask(mask: Mask | CrossMask) -> tuple[jax.Array, ...]:
    """Segments int32 [B, L] of queries and [B, M] of keys; () when attention is purely causal.

    Prefix attention has a third array [B, L]: segments of prefix positions, 0 elsewhere.
    """
    if mask.is_purely_causal:
        return ()
    if isinstance(mask, Mask) and mask.attention == "prefix":
        inside = False if mask.prefix is None else mask.prefix
        return mask.segments, mask.keys, jnp.where(inside, mask.segments, 0)
    return mask.segments, mask.keys


def unsupported_reason(mask: Mask | CrossMask, bias: jax.Array | None, q_BLHK: jax.Array) -> str:
    """The kernels take neither a bias per row nor queries that start in the middle of a row."""
    if bias is not None and bias.ndim == 4:
        return "every row has its own bias"
    if mask.attention != "full" and num_shards("length") > 1:
        return f"mesh.sequence splits {mask.attention} rows"
    return ""


def attend(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    kernel_mask: tuple[jax.Array, ...],
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
) -> jax.Array:
    """softmax(scale q k' + bias) v over visible keys: [B, L, H, K]. The bias is [H, L, M].

    The output of an empty query is finite but meaningless.
    """
    kernel = partial(_attend, q_BLHK * scale, k_BMGK, v_BMGK, bias)
    segments, prefixes = kernel_mask[:2], kernel_mask[2:]
    if not prefixes:
        return kernel(segments, causal)
    (prefix,) = prefixes
    return jnp.where(
        prefix[..., None, None] > 0, kernel((prefix, prefix), False), kernel(segments, True)
    )


def _attend(q, k, v, bias, segments, causal):
    segment_axes = [QUERIES[:2], KEYS[:2]][: len(segments)]
    if bias is None:
        function = partial(_splash, causal=causal)
        return map_shards(function, [QUERIES, KEYS, KEYS, *segment_axes], QUERIES)(
            q, k, v, *segments
        )
    function = partial(_flash, causal=causal)
    axes = [QUERIES, KEYS, KEYS, ("heads", "length", "keys"), *segment_axes]
    return map_shards(function, axes, QUERIES)(q, k, v, bias, *segments)


def _splash(q, k, v, *segments, causal):
    length = q.shape[1]
    q, k, v, *segments = map(pad_to_block, (q, k, v, *segments))
    shape = (q.shape[1], k.shape[1])
    mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    q_block, k_block = map(block_length, shape)
    kernel = splash.make_splash_mha(
        masks.MultiHeadMask([mask] * q.shape[2]),
        block_sizes=splash.BlockSizes(
            block_q=q_block,
            block_kv=k_block,
            block_q_dkv=q_block,
            block_kv_dkv=k_block,
            block_q_dq=q_block,
            block_kv_dq=k_block,
        ),
        head_shards=1,
        q_seq_shards=1,
    )

    def attend_row(q, k, v, *segments) -> Any:
        return kernel(q, k, v, splash.SegmentIds(*segments) if segments else None)

    return heads_first(jax.vmap(attend_row)(*map(heads_first, (q, k, v)), *segments))[:, :length]


def _flash(q, k, v, bias, *segments, causal):
    length, sharing = q.shape[1], q.shape[2] // k.shape[2]
    k, v = (jnp.repeat(x, sharing, axis=2) if sharing > 1 else x for x in (k, v))
    q, k, v, *segments = map(pad_to_block, (q, k, v, *segments))
    q_block, k_block = block_length(q.shape[1]), block_length(k.shape[1])
    sizes = flash.BlockSizes(
        block_q=q_block,
        block_k_major=k_block,
        block_k=k_block,
        block_b=1,
        block_q_major_dkv=q_block,
        block_k_major_dkv=k_block,
        block_k_dkv=k_block,
        block_q_dkv=q_block,
        block_k_major_dq=k_block,
        block_k_dq=k_block,
        block_q_dq=q_block,
    )
    bias = pad_to_block(pad_to_block(bias)[None], 3)

    def attend_row(row):
        q, k, v, *segments = (x[None] for x in row)
        ids = flash.SegmentIds(*segments) if segments else None
        return flash.flash_attention(q, k, v, bias, ids, causal=causal, block_sizes=sizes)[0]

    y = jax.lax.map(attend_row, (*map(heads_first, (q, k, v)), *segments))
    return heads_first(y)[:, :length]


def pad_to_block(x: jax.Array, axis: int = 1) -> jax.Array:
    """Appends zeros along `axis`, up to a multiple of the smallest block."""
    more = -x.shape[axis] % BLOCKS[-1]
    return jnp.pad(x, [(0, more if n == axis else 0) for n in range(x.ndim)])


def block_length(length: int) -> int:
    """block_length(1024) is 512, block_length(640) is 128."""
    return next(size for size in BLOCKS if length % size == 0)


def heads_first(x: jax.Array) -> jax.Array:
    """[B, L, H, K] -> [B, H, L, K], and back."""
    return jnp.swapaxes(x, 1, 2)
