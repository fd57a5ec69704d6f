"""Each part computes its formula, and the gradient of its formula.

The references are the formulas as papers print them, in float64; a part may compute them in any
way that it likes.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.layers.attention_plain import attend
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.dense import Dense, add_bias
from pretrain_jax.layers.embeddings import Embedding, Readout, look_up, padded_size
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import FeedForward, GatedFeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.masks import Mask
from pretrain_jax.layers.norms import LayerNorm, RMSNorm
from pretrain_jax.layers.outputs import Untied

RNG = np.random.default_rng(0)


def draw(*shape, scale=1.0):
    return np.asarray(RNG.normal(0, scale, shape), np.float32)


def assert_same(function, formula, arguments, tolerance=1e-5):
    """Values, and the slope of a random projection along random directions, argument by argument.

    `formula` takes float64; its slope is a central difference. Differences are measured against
    the largest value, and against the length of the gradient.
    """
    exact = [np.asarray(argument, np.float64) for argument in arguments]
    value, back = jax.jit(lambda *a: jax.vjp(function, *a))(*arguments)
    expected = formula(*exact)
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    weights = RNG.normal(size=expected.shape)
    gradients = jax.jit(back)(jnp.asarray(weights, value.dtype))
    for number, gradient in enumerate(gradients):
        for _ in range(3):
            along = RNG.normal(size=gradient.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = [*exact]
                moved[number] = exact[number] + step * along
                ends.append(np.sum(formula(*moved) * weights))
            slope = (ends[0] - ends[1]) / 2e-6
            found = np.sum(np.asarray(gradient, np.float64) * along)
            assert abs(found - slope) <= 3 * tolerance * np.linalg.norm(gradient), number


def layer_norm(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias


def rms_norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + np.exp(-x))


def apply(module, params, *inputs) -> Any:
    return module.apply({"params": params}, *inputs)


@pytest.mark.parametrize("offset", [0.0, 100.0], ids=["centred", "far from 0"])
def test_layer_norm(offset):
    """Far from zero, mean(x^2) - mean(x)^2 would lose the digits that differ between entries."""
    norm = LayerNorm(epsilon=1e-5)
    assert_same(
        lambda x, scale, bias: apply(norm, {"scale": scale, "bias": bias}, x),
        layer_norm,
        [draw(3, 5, 16) + np.float32(offset), 1 + draw(16), draw(16)],
        tolerance=1e-5 if offset == 0 else 3e-5,
    )


def test_layer_norm_without_a_bias():
    norm = LayerNorm(epsilon=1e-5, bias=False)
    assert_same(
        lambda x, scale: apply(norm, {"scale": scale}, x),
        lambda x, scale: layer_norm(x, scale, 0),
        [draw(3, 5, 16), 1 + draw(16)],
    )


@pytest.mark.parametrize("size", [1.0, 1e-3], ids=["usual", "as small as epsilon"])
def test_rms_norm(size):
    def run(x, scale):
        return apply(RMSNorm(epsilon=1e-6), {"scale": scale}, x * size)

    assert_same(run, lambda x, scale: rms_norm(x * size, scale), [draw(3, 5, 16), 1 + draw(16)])


@pytest.mark.parametrize(
    "norm", [LayerNorm(epsilon=1e-5), RMSNorm(epsilon=1e-6)], ids=["ln", "rms"]
)
def test_norms_are_computed_in_float32_and_returned_in_the_inputs_dtype(norm):
    x = jnp.asarray(draw(4, 64) * 30, jnp.bfloat16)
    variables = nn.meta.unbox(norm.init(jax.random.key(0), x))
    found = norm.apply(variables, x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        found, norm.apply(variables, x.astype(jnp.float32)).astype(jnp.bfloat16)
    )


def test_a_row_of_zeros_is_normalised_to_its_bias():
    bias = draw(8)
    norm = LayerNorm(epsilon=1e-5)
    run = lambda x: apply(norm, {"scale": jnp.ones(8), "bias": bias}, x)  # noqa: E731
    np.testing.assert_array_equal(run(jnp.zeros((1, 8)))[0], bias)
    assert np.all(np.isfinite(jax.grad(lambda x: run(x).sum())(jnp.zeros((1, 8)))))


def test_gelu():
    """The tanh approximation: 0.8412 at 1 (exact GELU: 0.8413)."""
    x = np.concatenate([np.linspace(-12, 12, 97), [1.0]]).astype(np.float32)
    assert_same(gelu, tanh_gelu, [x])
    np.testing.assert_allclose(gelu(x), tanh_gelu(np.float64(x)), rtol=0, atol=1e-6)
    assert float(gelu(jnp.float32(1.0))) == pytest.approx(0.841192, abs=1e-6)


def test_gelu_far_out_is_0_or_the_identity_with_slopes_of_0_and_1():
    x = jnp.array([-1e4, -50.0, 50.0, 1e4])
    np.testing.assert_array_equal(gelu(x), [0, 0, 50, 1e4])
    np.testing.assert_array_equal(jax.vmap(jax.grad(gelu))(x), [0, 0, 1, 1])


def test_gelu_keeps_the_dtype():
    x = jnp.asarray(draw(64), jnp.bfloat16)
    assert gelu(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(gelu(x)), tanh_gelu(np.float32(x)), rtol=0.02, atol=0.01)


def test_dense_contracts_all_input_axes():
    dense = Dense(
        inputs=(4, 3),
        outputs=(5,),
        axes=("heads", "head_width", "width"),
        kernel_init=Normal(1.0),
        bias=True,
    )
    assert_same(
        lambda x, kernel, bias: apply(dense, {"kernel": kernel, "bias": bias}, x),
        lambda x, kernel, bias: np.einsum("blhk,hkd->bld", x, kernel) + bias,
        [draw(2, 6, 4, 3), draw(4, 3, 5), draw(5)],
    )


def test_dense_splits_into_output_axes():
    dense = Dense(
        inputs=(6,),
        outputs=(4, 3),
        axes=("width", "heads", "head_width"),
        kernel_init=Normal(1.0),
        bias=False,
    )
    assert_same(
        lambda x, kernel: apply(dense, {"kernel": kernel}, x),
        lambda x, kernel: np.einsum("bld,dhk->blhk", x, kernel),
        [draw(2, 6, 6), draw(6, 4, 3)],
    )


def feed_forward(module, activation):
    dense = factory(Dense, bias=False, kernel_init=Normal(1.0))
    return module(features=6, activation=activation, dense=dense, dense_out=dense)


CONTEXT = Context(Mask(jnp.ones((2, 3), jnp.int32), None, "causal"), False)


@pytest.mark.parametrize(("activation", "formula"), [(gelu, tanh_gelu), (nn.silu, silu)])
def test_feed_forward(activation, formula):
    module = feed_forward(FeedForward, activation)
    assert_same(
        lambda x, up, down: apply(
            module, {"up": {"kernel": up}, "down": {"kernel": down}}, x, CONTEXT
        ),
        lambda x, up, down: formula(x @ up) @ down,
        [draw(2, 3, 4), draw(4, 6), draw(6, 4)],
    )


@pytest.mark.parametrize(("activation", "formula"), [(gelu, tanh_gelu), (nn.silu, silu)])
def test_gated_feed_forward(activation, formula):
    module = feed_forward(GatedFeedForward, activation)

    def run(x, gate, up, down):
        kernels = {"gate": gate, "up": up, "down": down}
        return apply(module, {name: {"kernel": k} for name, k in kernels.items()}, x, CONTEXT)

    assert_same(
        run,
        lambda x, gate, up, down: (formula(x @ gate) * (x @ up)) @ down,
        [draw(2, 3, 4), draw(4, 6), draw(4, 6), draw(6, 4)],
    )


def attention_formula(mask):
    def formula(q, k, v, bias):
        scores = np.einsum("blhk,bmhk->bhlm", q, k) + bias
        scores = np.where(mask, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return np.einsum("bhlm,bmhk->blhk", weights, v)

    return formula


@pytest.mark.parametrize("attention", ["causal", "full"])
def test_attend(attention):
    """Documents of 4 and 3 tokens and 2 positions of padding; a row with one document."""
    segments = jnp.array([[1, 1, 1, 1, 2, 2, 2, 0, 0], [1] * 9])
    mask = Mask(segments, None, attention)
    formula = attention_formula(np.asarray(mask.dense()))
    assert_same(
        lambda q, k, v, bias: attend(q, k, v, mask, bias, scale=0.4),
        lambda q, k, v, bias: formula(0.4 * q, k, v, bias),
        [draw(2, 9, 3, 4), draw(2, 9, 3, 4), draw(2, 9, 3, 4), draw(3, 9, 9)],
    )


def test_attend_without_a_bias():
    mask = Mask(jnp.array([[1, 1, 1, 2, 2]]), None, "causal")
    formula = attention_formula(np.asarray(mask.dense()))
    assert_same(
        lambda q, k, v: attend(q, k, v, mask),
        lambda q, k, v: formula(q, k, v, 0),
        [draw(1, 5, 2, 4), draw(1, 5, 2, 4), draw(1, 5, 2, 4)],
    )


def test_attend_to_scores_of_a_thousand_is_finite():
    mask = Mask(jnp.array([[1, 1, 1, 1]]), None, "causal")
    q, k, v = (jnp.asarray(draw(1, 4, 1, 2)) for _ in range(3))
    run = lambda q: jnp.sum(attend(q, 30 * k, v, mask))  # noqa: E731
    value, gradient = jax.value_and_grad(run)(30 * q)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_masked_keys_change_no_bit():
    """No value in the second document, not even infinity, changes the first."""
    mask = Mask(jnp.array([[1, 1, 1, 2, 2]]), None, "causal")
    q, k, v = (jnp.asarray(draw(1, 5, 2, 4)) for _ in range(3))
    run = jax.jit(lambda q, k, v: attend(q, k, v, mask))
    other = [x.at[:, 3:].multiply(1e6) for x in (q, k, v)]
    np.testing.assert_array_equal(run(q, k, v)[:, :3], run(*other)[:, :3])


def test_dropout_acts_on_the_probabilities():
    mask = Mask(jnp.array([[1, 1, 1]]), None, "full")
    q, k, v = (jnp.asarray(draw(1, 3, 2, 4)) for _ in range(3))
    plain = attend(q, k, v, mask)
    np.testing.assert_allclose(attend(q, k, v, mask, drop=lambda p: 2 * p), 2 * plain, rtol=1e-5)
    np.testing.assert_array_equal(attend(q, k, v, mask, drop=lambda p: 0 * p), 0 * plain)


def test_attend_in_bfloat16_keeps_its_scores_in_float32():
    mask = Mask(jnp.ones((1, 64), jnp.int32), None, "causal")
    q, k, v = (jnp.asarray(draw(1, 64, 2, 16), jnp.bfloat16) for _ in range(3))
    found = attend(q, k, v, mask)
    assert found.dtype == jnp.bfloat16
    exact_q, exact_k, exact_v = (np.asarray(x, np.float64) for x in (q, k, v))
    expected = attention_formula(np.asarray(mask.dense()))(exact_q, exact_k, exact_v, 0)
    np.testing.assert_allclose(np.float64(found), expected, rtol=0, atol=0.03)


def embed(table, positions, tokens, places):
    module = Embedding(5, 4, Normal(1.0), max_length=6, position_init=Normal(1.0))
    return apply(module, {"tokens": table, "positions": positions}, tokens, places, False)


def test_embedding_adds_rows_and_its_gradient_sums_over_repeated_tokens():
    tokens, places = jnp.array([[1, 1, 4], [4, 0, 1]]), jnp.array([[0, 1, 2], [5, 0, 0]])
    assert_same(
        lambda table, positions: embed(table, positions, tokens, places),
        lambda table, positions: table[np.asarray(tokens)] + positions[np.asarray(places)],
        [draw(128, 4), draw(6, 4)],
    )
    gradient = jax.grad(lambda t: jnp.sum(embed(t, jnp.zeros((6, 4)), tokens, places)))
    counts = gradient(jnp.asarray(draw(128, 4)))
    np.testing.assert_array_equal(counts[:5], np.tile([[1], [3], [0], [0], [2]], 4))
    np.testing.assert_array_equal(counts[5:], 0)


@pytest.mark.parametrize("rows", [16, 1024], ids=["few rows", "many rows"])
def test_a_frequent_token_gets_all_of_its_gradient_in_bfloat16(rows):
    """Four thousand ones, added one by one in bfloat16, sum to 256."""
    tokens = jnp.full((4, 1000), 7)
    gradient = jax.grad(lambda t: jnp.sum(look_up(t, tokens, "vocabulary", jnp.bfloat16)))
    found = gradient(jnp.asarray(draw(rows, 4)))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found[7], 4000)
    np.testing.assert_array_equal(found.sum(), 4 * 4000)


def test_a_bias_gets_all_of_its_gradient_in_bfloat16():
    """The gradients are powers of two from 1 to 1/1024; bfloat16 cannot represent their sum."""
    g = jnp.asarray(2.0 ** -np.arange(11)[:, None] * np.ones((11, 3)), jnp.bfloat16)
    _, back = jax.vjp(add_bias, jnp.zeros((11, 3), jnp.bfloat16), jnp.zeros(3))
    d_x, d_bias = back(g)
    assert (d_x.dtype, d_bias.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(d_bias, 2 - 2.0**-10)


def test_read_outs_are_padded_tables():
    tied = Readout(jnp.zeros((256, 4)), None, 1.0, 200)
    module = Untied(table_init=Normal(1.0))
    (_, readout), variables = module.init_with_output(jax.random.key(0), jnp.zeros((1, 4)), tied)
    table = nn.meta.unbox(variables)["params"]["table"]
    assert table.shape == (256, 4)
    assert np.all(table[200:] == 0)
    assert np.all(np.any(table[:200] != 0, axis=-1))
    assert (readout.vocab_size, readout.scale, readout.bias) == (200, 1.0, None)


@pytest.mark.parametrize(("true", "padded"), [(1, 128), (128, 128), (129, 256), (50257, 50304)])
def test_padded_size(true, padded):
    assert padded_size(true) == padded
