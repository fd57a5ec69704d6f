"""Positions: added at the embedding, rotating queries and keys, or as a bias of the scores.

Learned positions are an embedding (embeddings.py). Each module here adds its arrays to the
context of a stack, once for all layers.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax.layers.axes import named
from pretrain_jax.layers.context import Context
from pretrain_jax.process import capacity


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021), the two halves of a head rotated against each other.

    Pair (k, k + K/2) turns by position / base^(2k / K), as in LLaMA's released weights in
    Hugging Face's layout (Meta's own code pairs neighbours, a permutation of q and k columns).
    """

    head_width: int
    base: float = 10000.0

    def __call__(self, context: Context, positions: jax.Array) -> Context:
        frequency = jnp.asarray(np.tile(frequencies(self.head_width, self.base), 2), jnp.float32)
        angle = positions[..., None].astype(jnp.float32) * frequency
        return context.replace(rotation=(jnp.cos(angle), jnp.sin(angle)))


def rotate(x_BLHK: jax.Array, cos_BLK: jax.Array, sin_BLK: jax.Array) -> jax.Array:
    """Turns each pair (k, k + K/2) of a head by its position's angle, in float32."""
    x = x_BLHK.astype(jnp.float32)
    first, second = jnp.split(x, 2, axis=-1)
    turned = jnp.concatenate([-second, first], axis=-1)
    y = x * cos_BLK[:, :, None] + turned * sin_BLK[:, :, None]
    return y.astype(x_BLHK.dtype)


class RelativeBuckets(nn.Module):
    """T5's bias of the scores: one learned number for each head and bucket of distances.

    Half of the buckets are single distances, the rest grow logarithmically up to `furthest`, and
    all beyond share the last (T5 section 2.1). A bidirectional stack gives half of its buckets
    to each direction; `causal` gives all of them to the past.
    """

    heads: int
    causal: bool
    table_init: Any
    buckets: int = 32
    furthest: int = 128

    @nn.compact
    def __call__(self, context: Context, positions: jax.Array) -> Context:
        axes = ("buckets", "heads")
        table = self.param("table", named(self.table_init, *axes), (self.buckets, self.heads))
        length = positions.shape[1]
        table_of_distances = 3 * 8 * length**2
        capacity.check(table_of_distances, "T5's distances between tokens", "Lower data.seq_len")
        # Distances inside a packed segment are differences of places in the row.
        place = np.arange(length)
        distance = place[None, :] - place[:, None]
        bucket = relative_bucket(distance, self.causal, self.buckets, self.furthest)
        one_hot = jax.nn.one_hot(bucket, self.buckets, dtype=jnp.float32)
        return context.replace(bias=jnp.einsum("lmn,nh->hlm", one_hot, table))


def relative_bucket(distance: np.ndarray, causal: bool, buckets: int, furthest: int) -> np.ndarray:
    """Bucket of each distance (key place - query place).

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
    # float32, as the released code computes it: one bucket edge differs in float64.
    far = exact + (ratio.astype(np.float32) * (buckets - exact)).astype(np.int32)
    return offset + np.where(past < exact, past, np.minimum(far, buckets - 1))


class Distances(nn.Module):
    """Transformer-XL's sinusoids of the distances 0 .. L - 1, for RelativeAttention."""

    width: int

    def __call__(self, context: Context, positions: jax.Array) -> Context:
        table = sinusoids(np.arange(positions.shape[1]), self.width)
        return context.replace(distances=jnp.asarray(table))


def frequencies(width: int, base: float = 10000.0) -> np.ndarray:
    """float64 [width / 2]: base^(-2k / width), radians a position; width 4 -> 1, 0.01."""
    return base ** -(np.arange(0, width, 2, dtype=np.float64) / width)


def sinusoids(positions: np.ndarray, width: int) -> np.ndarray:
    """float32 [n, width]: sines then cosines of position / 10000^(2i / width)."""
    angle = positions[:, None] * frequencies(width)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)


def sines(positions: jax.Array, width: int) -> jax.Array:
    """float32 [..., width] of int positions [...]: the same, for positions of a packed row."""
    frequency = jnp.asarray(frequencies(width), jnp.float32)
    angle = positions[..., None].astype(jnp.float32) * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def shift_distances(x_BHLD: jax.Array) -> jax.Array:
    """[B, H, L, distance] -> [B, H, L, M]: column m of query l is distance l - m.

    Columns of later positions (m > l) hold other numbers, which the causal mask removes. With
    L = 3 and rows [d0 d1 d2]: query 0 reads d0 at m = 0, query 2 reads d2 d1 d0.
    """
    length = x_BHLD.shape[-1]
    backwards = x_BHLD[..., ::-1]  # column c is distance L - 1 - c
    padded = jnp.pad(backwards, ((0, 0), (0, 0), (0, 0), (1, 0)))
    # Read row by row with one column more, row l starts l places later than it should.
    shifted = padded.reshape(*x_BHLD.shape[:2], length + 1, length)[:, :, 1:]
    return shifted
