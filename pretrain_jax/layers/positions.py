"""Rotary, relative and sinusoidal positions.

Each module adds its arrays to the context of a stack, once for all layers. Learned positions are
in embeddings.py.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax.layers.axes import with_axes
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.rope_scaling import Unscaled
from pretrain_jax.process import host_memory


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021), which pair the two halves of a head.

    Pair (k, k + K/2) is rotated by position / base^(2k / K), as in the Hugging Face layout of
    LLaMA's weights (Meta's own code pairs neighbours, which permutes the columns of q and k).
    """

    head_width: int
    base: float = 10000.0
    scaling: Unscaled = Unscaled()

    def __call__(self, context: Context, positions: jax.Array) -> Context:
        rescaled = self.scaling.rescale(frequencies(self.head_width, self.base), self.base)
        frequency = jnp.asarray(np.tile(rescaled, 2), jnp.float32)
        angle = positions[..., None].astype(jnp.float32) * frequency
        cos_sin = (f(angle) * self.scaling.magnitude for f in (jnp.cos, jnp.sin))
        return context.replace(rotation=tuple(cos_sin))


def rotate(x_BLHK: jax.Array, cos_BLK: jax.Array, sin_BLK: jax.Array) -> jax.Array:
    """Rotates each pair (k, k + K/2) of a head by its position's angle, in float32."""
    x = x_BLHK.astype(jnp.float32)
    first, second = jnp.split(x, 2, axis=-1)
    rotated = jnp.concatenate([-second, first], axis=-1)
    y = x * cos_BLK[:, :, None] + rotated * sin_BLK[:, :, None]
    return y.astype(x_BLHK.dtype)


class RelativeBuckets(nn.Module):
    """T5's bias of the scores: one learned number per head and bucket of distances.

    Half of the buckets hold one distance each, the others grow logarithmically up to `furthest`,
    and all larger distances share the last bucket (T5, section 2.1). A bidirectional stack gives
    half of the buckets to each direction; `causal` gives all of them to the past.
    """

    heads: int
    causal: bool
    table_init: Any
    buckets: int = 32
    furthest: int = 128

    @nn.compact
    def __call__(self, context: Context, positions: jax.Array) -> Context:
        axes = ("buckets", "heads")
        table = self.param("table", with_axes(self.table_init, *axes), (self.buckets, self.heads))
        length = positions.shape[1]
        num_bytes = 3 * 8 * length**2
        host_memory.check_memory(num_bytes, "T5's distances between tokens", "Lower data.seq_len")
        # Indices in the row give the distances inside every packed segment.
        index = np.arange(length)
        distance = index[None, :] - index[:, None]
        bucket = relative_bucket(distance, self.causal, self.buckets, self.furthest)
        one_hot = jax.nn.one_hot(bucket, self.buckets, dtype=jnp.float32)
        return context.replace(bias=jnp.einsum("lmn,nh->hlm", one_hot, table))


def relative_bucket(distance: np.ndarray, causal: bool, buckets: int, furthest: int) -> np.ndarray:
    """Returns the bucket of each distance (key index - query index).

    >>> relative_bucket(np.array([0, -1, -15, -16, -127, -500]), True, 32, 128).tolist()
    [0, 1, 15, 16, 31, 31]
    """
    offset = np.zeros_like(distance)
    if causal:
        past = np.maximum(-distance, 0)
    else:
        buckets //= 2
        offset = (distance > 0) * buckets
        past = np.abs(distance)
    exact = buckets // 2
    ratio = np.log(np.maximum(past, 1) / exact) / np.log(furthest / exact)
    # float32, as in the released code: in float64 one bucket edge differs.
    far = exact + (ratio.astype(np.float32) * (buckets - exact)).astype(np.int32)
    return offset + np.where(past < exact, past, np.minimum(far, buckets - 1))


class Distances(nn.Module):
    """Adds Transformer-XL's sinusoids of the distances 0 .. L - 1, for RelativeAttention."""

    width: int

    def __call__(self, context: Context, positions: jax.Array) -> Context:
        distances = sinusoids(np.arange(positions.shape[1]), self.width)
        return context.replace(distances=jnp.asarray(distances))


def frequencies(width: int, base: float = 10000.0) -> np.ndarray:
    """float64 [width / 2]: base^(-2k / width) radians per position; width 4 gives 1, 0.01."""
    return base ** -(np.arange(0, width, 2, dtype=np.float64) / width)


def sinusoids(positions: np.ndarray | jax.Array, width: int) -> Any:
    """Sines, then cosines, of position / 10000^(2i / width): int [...] -> float32 [..., width].

    numpy positions are computed in float64 on the host, jax positions in float32 on the device.
    """
    on_host = isinstance(positions, np.ndarray)
    xp, dtype = (np, np.float64) if on_host else (jnp, jnp.float32)
    angle = positions[..., None].astype(dtype) * xp.asarray(frequencies(width), dtype)
    return xp.concatenate([xp.sin(angle), xp.cos(angle)], axis=-1).astype(np.float32)


def shift_distances(x_BHLD: jax.Array) -> jax.Array:
    """[B, H, L, distance] -> [B, H, L, M]: column m of query l is distance l - m.

    Columns of later positions (m > l) hold other numbers, which the causal mask removes. For L = 3
    and rows [d0 d1 d2], query 0 has d0 at m = 0 and query 2 has d2 d1 d0.
    """
    length = x_BHLD.shape[-1]
    backwards = x_BHLD[..., ::-1]  # column c is distance L - 1 - c
    padded = jnp.pad(backwards, ((0, 0), (0, 0), (0, 0), (1, 0)))
    # In a layout with one more column, row l starts l entries too late.
    shifted = padded.reshape(*x_BHLD.shape[:2], length + 1, length)[:, :, 1:]
    return shifted
