"""Positions: published values, and the property of each kind."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.layers.attention import RelativeAttention
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.masks import Mask
from pretrain_jax.layers.positions import (
    Distances,
    RelativeBuckets,
    Rotary,
    relative_bucket,
    rotate,
    shift_distances,
    sinusoids,
)

# T5, mesh_tensorflow/transformer/transformer_layers.py, _relative_position_bucket: of n buckets,
# n / 2 are single distances, and a distance d beyond is in bucket
# n/2 + floor(log(d / (n/2)) / log(128 / (n/2)) * n/2), at most n - 1. These are the first
# distances of each bucket, worked out by hand from that formula.
FIRST_OF_CAUSAL = [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
FIRST_OF_EACH_WAY = [*range(8), 8, 12, 16, 23, 32, 46, 64, 91]


def bucket_of(distance, firsts):
    return max(bucket for bucket, first in enumerate(firsts) if first <= distance)


def test_causal_buckets_are_t5s():
    distances = np.arange(0, 300)
    found = relative_bucket(-distances, True, 32, 128)
    assert found.tolist() == [bucket_of(d, FIRST_OF_CAUSAL) for d in distances]


def test_bidirectional_buckets_are_t5s():
    distances = np.arange(-300, 300)
    found = relative_bucket(distances, False, 32, 128)
    expected = [16 * (d > 0) + bucket_of(abs(d), FIRST_OF_EACH_WAY) for d in distances]
    assert found.tolist() == expected


def test_later_keys_of_a_causal_stack_share_the_bucket_of_distance_0():
    assert relative_bucket(np.array([1, 5, 500]), True, 32, 128).tolist() == [0, 0, 0]


def context(length, **more):
    return Context(Mask(jnp.ones((1, length), jnp.int32), None, "causal"), False, **more)


def test_the_bias_is_the_number_of_head_and_bucket():
    length, heads = 40, 3
    positions = jnp.arange(length)[None]
    buckets = RelativeBuckets(heads=heads, causal=True, table_init=Normal(1.0))
    variables = nn.meta.unbox(buckets.init(jax.random.key(0), context(length), positions))
    table = variables["params"]["table"]
    assert table.shape == (32, heads)
    bias = buckets.apply(variables, context(length), positions).bias  # pyright: ignore[reportAttributeAccessIssue]
    assert bias.shape == (heads, length, length)
    for i, j in ((0, 0), (7, 0), (20, 1), (39, 3), (39, 0)):
        expected = table[bucket_of(i - j, FIRST_OF_CAUSAL)]
        np.testing.assert_allclose(bias[:, i, j], expected, rtol=1e-6)


def rotation(positions, width, base=10000.0):
    placed = Rotary(head_width=width, base=base).apply({}, context(4), jnp.asarray(positions))
    return placed.rotation  # pyright: ignore[reportAttributeAccessIssue]


def scores(positions, width=8):
    """q . k of one query and one key vector, at all pairs of positions."""
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(np.tile(rng.normal(size=width), (1, len(positions), 1, 1)), jnp.float32)
            for _ in range(2))  # fmt: skip
    cos, sin = rotation([positions], width)
    return np.einsum("ik,jk->ij", rotate(q, cos, sin)[0, :, 0], rotate(k, cos, sin)[0, :, 0])


def test_rotary_scores_depend_only_on_the_distance():
    found = scores(range(12))
    for distance in range(-11, 12):
        diagonal = np.diagonal(found, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=0, atol=1e-5)
    assert np.ptp(found[:, 0]) > 1  # and they do depend on it
    np.testing.assert_allclose(scores(range(100, 112)), found, rtol=0, atol=2e-5)


def test_rotary_rotates_pairs_of_halves():
    """Pair (k, k + K/2) by position / base^(2k / K): K = 4, base 100, position 3."""
    x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    found = rotate(x, *rotation([[3]], 4, base=100.0))[0, 0, 0]
    expected = []
    for pair, angle in enumerate((3.0, 0.3)):
        expected.append(complex(1 + pair, 3 + pair) * np.exp(1j * angle))
    np.testing.assert_allclose(found, [*np.real(expected), *np.imag(expected)], rtol=1e-6)


def test_rotary_at_position_0_is_the_identity_and_keeps_lengths():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3, 8)), jnp.float32)
    still = rotate(x, *rotation(np.zeros((2, 5), int), 8))
    np.testing.assert_array_equal(still, x)
    turned = rotate(x, *rotation(np.tile(np.arange(5) * 50, (2, 1)), 8))
    norms = [jnp.linalg.norm(y, axis=-1) for y in (turned, x)]
    np.testing.assert_allclose(*norms, rtol=1e-6)
    assert rotate(x.astype(jnp.bfloat16), *rotation([[1] * 5] * 2, 8)).dtype == jnp.bfloat16


def test_sinusoids():
    """Width 4: position p has the angles p and p / 100; sines come first."""
    found = sinusoids(np.array([0, 1, 7]), 4)
    expected = [[np.sin(p), np.sin(p / 100), np.cos(p), np.cos(p / 100)] for p in (0, 1, 7)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_shifting_puts_distances_where_their_keys_are():
    length = 5
    by_distance = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, length, length)))
    shifted = shift_distances(by_distance)
    assert shifted.shape == by_distance.shape
    for i in range(length):
        for j in range(i + 1):
            np.testing.assert_array_equal(shifted[..., i, j], by_distance[..., i, i - j])


HEADS, HEAD_WIDTH, WIDTH, LENGTH = 2, 6, 8, 7


@pytest.fixture(scope="module")
def relative():
    """A module, variables large enough to matter, an input, and a packed context: 4 + 3 tokens."""
    dense = factory(Dense, bias=True, kernel_init=Normal(0.3))
    module = RelativeAttention(
        heads=HEADS,
        head_width=HEAD_WIDTH,
        scale=HEAD_WIDTH**-0.5,
        dense=dense,
        dense_out=dense,
        dropout=factory(nn.Dropout, rate=0.0),
    )
    segments = jnp.array([[1, 1, 1, 1, 2, 2, 2]])
    placed = Distances(width=WIDTH).apply(
        {}, Context(Mask(segments, None, "causal"), False), jnp.zeros((1, LENGTH))
    )
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1, LENGTH, WIDTH)), jnp.float32)
    variables = nn.meta.unbox(jax.jit(module.init)(jax.random.key(0), x, placed))
    noise = lambda leaf: leaf + jnp.asarray(rng.normal(0, 0.5, leaf.shape), jnp.float32)  # noqa: E731
    return module, jax.tree.map(noise, variables), x, placed


def transformer_xl(p, x, segments):
    """Dai et al. 2019, section 3.3, one pair of positions at a time, in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), p)
    q, k, v = (
        np.einsum("ld,dhk->lhk", x, p[name]["kernel"]) + p[name]["bias"]
        for name in ("query", "key", "value")
    )
    frequency = 10000.0 ** -(np.arange(0, WIDTH, 2) / WIDTH)
    out = np.tile(p["out"]["bias"], (len(x), 1))
    for h in range(HEADS):
        for i in range(len(x)):
            keys = [j for j in range(i + 1) if segments[j] == segments[i]]
            score = []
            for j in keys:
                r = np.concatenate([np.sin((i - j) * frequency), np.cos((i - j) * frequency)])
                content = (q[i, h] + p["content_bias"][h]) @ k[j, h]
                place = (q[i, h] + p["position_bias"][h]) @ (r @ p["distances"]["kernel"][:, h])
                score.append((content + place) * HEAD_WIDTH**-0.5)
            weight = np.exp(score) / np.sum(np.exp(score))
            read = sum(w * v[j, h] for w, j in zip(weight, keys, strict=True))
            out[i] += read @ p["out"]["kernel"][h]
    return out


def test_relative_attention_equals_transformer_xls(relative):
    module, variables, x, placed = relative
    found = jax.jit(module.apply)(variables, x, placed)
    expected = transformer_xl(variables["params"], np.asarray(x[0]), [1, 1, 1, 1, 2, 2, 2])
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_relative_attention_has_transformer_xls_gradient(relative):
    """The slope along random directions, against central differences of the formula."""
    module, variables, x, placed = relative
    rng = np.random.default_rng(1)
    weights = rng.normal(size=x.shape)
    loss = lambda v: jnp.sum(module.apply(v, x, placed) * weights)  # noqa: E731
    gradients = jax.jit(jax.grad(loss))(variables)["params"]
    for part in gradients:
        along = jax.tree.map(lambda g: rng.normal(size=g.shape), gradients[part])

        def at(step, part=part, along=along):
            params = {**variables["params"]}
            moved = jax.tree.map(lambda p, d: np.float64(p) + step * d, params[part], along)
            out = transformer_xl({**params, part: moved}, np.asarray(x[0]), [1, 1, 1, 1, 2, 2, 2])
            return np.sum(out * weights[0])

        slope = (at(1e-5) - at(-1e-5)) / 2e-5
        products = jax.tree.map(lambda g, d: np.sum(np.float64(g) * d), gradients[part], along)
        found = sum(jax.tree.leaves(products))
        size = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients[part])))
        assert abs(found - slope) < 1e-4 * (abs(slope) + size) + 1e-5, part


def test_relative_attention_without_distances_names_what_is_missing(relative):
    module, variables, x, placed = relative
    with pytest.raises(ValueError, match=r"context.distances"):
        module.apply(variables, x, placed.replace(distances=None))
