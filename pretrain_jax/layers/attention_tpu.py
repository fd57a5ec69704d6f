"""Attention on TPUs: jax's own Pallas kernels, which keep no [B, H, L, M] scores in memory.

Splash attention, and where a bias is added to the scores (T5's) flash attention, the one of the two
that takes one. Its bias has a row's own gradient [H, L, M], so rows go through it one after the
other and their gradients are summed: a TPU's core works on one row at a time in any case.

A prefix is two of them: rows read in order, and rows of which prefixes alone look at one another.
What follows a prefix takes what the first found, the prefix what the second found.

Blocks are multiples of 128 lanes: shorter rows are padded to that with places of segment 0, which
none looks at but padding.
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

from pretrain_jax.layers.axes import mapped, ways
from pretrain_jax.layers.masks import CrossMask, Mask

BLOCKS = (512, 384, 256, 128)
"""Places in a block of the kernels, the first that divides. 512 is what MaxText's recipes take."""
QUERIES = ("batch", "length", "heads", "head_width")
KEYS = ("batch", "keys", "heads", "head_width")


def view(mask: Mask | CrossMask) -> tuple[jax.Array, ...]:
    """Segments int32 [B, L] of queries and [B, M] of keys; where prefixes are in view, those of
    their places as well, with 0 for all others; () where "causal" says it all."""
    if mask.by_order:
        return ()
    if isinstance(mask, Mask) and mask.attention == "prefix":
        inside = False if mask.prefix is None else mask.prefix
        return mask.segments, mask.keys, jnp.where(inside, mask.segments, 0)
    return mask.segments, mask.keys


def refusal(mask: Mask | CrossMask, bias: jax.Array | None, q_BLHK: jax.Array) -> str:
    """A bias of each row, queries that start in mid-row."""
    if bias is not None and bias.ndim == 4:
        return "every row has a bias of its own"
    if mask.attention != "full" and ways("length") > 1:
        return f"mesh.sequence splits {mask.attention} rows"
    return ""


def attend(
    q_BLHK: jax.Array,
    k_BMHK: jax.Array,
    v_BMHK: jax.Array,
    view: tuple[jax.Array, ...],
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
) -> jax.Array:
    """softmax(scale q k' + bias, where seen) v: [B, L, H, K]. Bias: [H, L, M].

    A query that sees nothing reads finite numbers of no meaning.
    """
    look = partial(_look, q_BLHK * scale, k_BMHK, v_BMHK, bias)
    segments, prefixes = view[:2], view[2:]
    if not prefixes:
        return look(segments, causal)
    (own,) = prefixes
    return jnp.where(own[..., None, None] > 0, look((own, own), False), look(segments, True))


def _look(q, k, v, bias, segments, causal):
    of_segments = [QUERIES[:2], KEYS[:2]][: len(segments)]
    if bias is None:
        function = partial(_splash, causal=causal)
        return mapped(function, [QUERIES, KEYS, KEYS, *of_segments], QUERIES)(q, k, v, *segments)
    function = partial(_flash, causal=causal)
    axes = [QUERIES, KEYS, KEYS, ("heads", "length", "keys"), *of_segments]
    return mapped(function, axes, QUERIES)(q, k, v, bias, *segments)


def _splash(q, k, v, *segments, causal):
    length = q.shape[1]
    q, k, v, *segments = map(padded, (q, k, v, *segments))
    shape = (q.shape[1], k.shape[1])
    mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    of_q, of_k = map(block, shape)
    kernel = splash.make_splash_mha(
        masks.MultiHeadMask([mask] * q.shape[2]),
        block_sizes=splash.BlockSizes(
            block_q=of_q,
            block_kv=of_k,
            block_q_dkv=of_q,
            block_kv_dkv=of_k,
            block_q_dq=of_q,
            block_kv_dq=of_k,
        ),
        head_shards=1,
        q_seq_shards=1,
    )

    def row(q, k, v, *segments) -> Any:
        return kernel(q, k, v, splash.SegmentIds(*segments) if segments else None)

    return heads_first(jax.vmap(row)(*map(heads_first, (q, k, v)), *segments))[:, :length]


def _flash(q, k, v, bias, *segments, causal):
    length = q.shape[1]
    q, k, v, *segments = map(padded, (q, k, v, *segments))
    of_q, of_k = block(q.shape[1]), block(k.shape[1])
    sizes = flash.BlockSizes(
        block_q=of_q,
        block_k_major=of_k,
        block_k=of_k,
        block_b=1,
        block_q_major_dkv=of_q,
        block_k_major_dkv=of_k,
        block_k_dkv=of_k,
        block_q_dkv=of_q,
        block_k_major_dq=of_k,
        block_k_dq=of_k,
        block_q_dq=of_q,
    )
    bias = padded(padded(bias)[None], 3)

    def row(one):
        q, k, v, *segments = (x[None] for x in one)
        ids = flash.SegmentIds(*segments) if segments else None
        return flash.flash_attention(q, k, v, bias, ids, causal=causal, block_sizes=sizes)[0]

    y = jax.lax.map(row, (*map(heads_first, (q, k, v)), *segments))
    return heads_first(y)[:, :length]


def padded(x: jax.Array, axis: int = 1) -> jax.Array:
    """`x` with zeros behind axis `axis`, up to a multiple of the smallest block."""
    more = -x.shape[axis] % BLOCKS[-1]
    return jnp.pad(x, [(0, more if n == axis else 0) for n in range(x.ndim)])


def block(length: int) -> int:
    """block(1024) is 512, block(640) 128."""
    return next(size for size in BLOCKS if length % size == 0)


def heads_first(x: jax.Array) -> jax.Array:
    """[B, L, H, K] -> [B, H, L, K], and back."""
    return jnp.swapaxes(x, 1, 2)
