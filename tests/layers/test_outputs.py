"""Token read-outs, by hand on small numbers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax import losses
from pretrain_jax.cross_entropy import cross_entropy
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.outputs import Scaled, Transformed, Untied

VOCAB, ROWS, WIDTH = 5, 8, 4
RNG = np.random.default_rng(0)
HIDDEN = jnp.asarray(RNG.normal(size=(2, 3, 6)), jnp.float32)
TABLE = np.zeros((ROWS, WIDTH), np.float32)
TABLE[:VOCAB] = RNG.normal(size=(VOCAB, WIDTH))
TIED = Readout(jnp.asarray(TABLE), None, 1.0, VOCAB)
TRANSFORMED = Transformed(
    dense=factory(Dense, bias=True, kernel_init=Normal(0.5)),
    activation=exact_gelu,
    norm=factory(LayerNorm, epsilon=1e-12),
)


def init(module: nn.Module, hidden: jax.Array) -> Any:
    return nn.meta.unbox(module.init(jax.random.key(0), hidden, TIED)["params"])


def applied(module: nn.Module, params: Any, hidden: jax.Array) -> tuple[jax.Array, Readout]:
    out: Any = module.apply({"params": params}, hidden, TIED)
    return out


def logits(hidden: jax.Array, readout: Readout) -> np.ndarray:
    """[N, 8] of hidden states [.., D]."""
    return np.asarray(losses.compute_logits(hidden.reshape(-1, hidden.shape[-1]), readout))


def test_transformed_equals_berts_head():
    params = init(TRANSFORMED, HIDDEN)
    assert {name: p.shape for name, p in params["dense"].items()} == {
        "kernel": (6, WIDTH),  # to the width of the table, not of the hidden states
        "bias": (WIDTH,),
    }
    params["bias"] = jnp.arange(ROWS, dtype=jnp.float32)
    hidden, readout = applied(TRANSFORMED, params, HIDDEN)
    x = np.asarray(HIDDEN, np.float64) @ np.asarray(params["dense"]["kernel"], np.float64)
    x = np.vectorize(phi)(x) * x
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    expected = x.reshape(-1, WIDTH) @ TABLE[:VOCAB].T + np.arange(VOCAB)
    np.testing.assert_allclose(logits(hidden, readout)[:, :VOCAB], expected, rtol=1e-5, atol=1e-5)


def phi(x: float) -> float:
    """The normal distribution function, as a sum of its density."""
    grid = np.linspace(-10, x, 20001)
    return float(np.trapezoid(np.exp(-(grid**2) / 2), grid) / np.sqrt(2 * np.pi))


def test_a_bias_gives_the_padding_no_probability():
    params = init(TRANSFORMED, HIDDEN)
    params["bias"] = jnp.full(ROWS, 7.0)
    hidden, readout = applied(TRANSFORMED, params, HIDDEN)
    assert np.all(logits(hidden, readout)[:, VOCAB:] == -np.inf)


def test_scaled_multiplies_the_logits():
    hidden = HIDDEN[..., :WIDTH]
    same, readout = applied(Scaled(0.25), {}, hidden)
    assert same is hidden
    np.testing.assert_allclose(
        logits(hidden, readout)[:, :VOCAB], 0.25 * logits(hidden, TIED)[:, :VOCAB], rtol=1e-6
    )


def test_untied_has_its_own_table():
    hidden, module = HIDDEN[..., :WIDTH], Untied(Normal(1.0))
    params = init(module, hidden)
    assert params["table"].shape == (ROWS, WIDTH)
    assert np.all(params["table"][VOCAB:] == 0)
    _, readout = applied(module, params, hidden)
    assert readout.vocab_size == VOCAB
    expected = np.asarray(hidden.reshape(-1, WIDTH) @ params["table"][:VOCAB].T)
    np.testing.assert_allclose(logits(hidden, readout)[:, :VOCAB], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("module", [TRANSFORMED, Scaled(0.5)])
def test_tied_read_outs_have_a_gradient_in_the_embedding(module):
    hidden = HIDDEN[..., :WIDTH]
    variables: Any = module.init(jax.random.key(0), hidden, TIED)

    def total(table):
        found: Any = module.apply(variables, hidden, TIED.replace(table=table))
        out, readout = found
        nll, _ = cross_entropy(
            losses.compute_logits(out.reshape(-1, WIDTH), readout), jnp.zeros(6, jnp.int32)
        )
        return jnp.sum(nll)

    moved = np.any(np.asarray(jax.grad(total)(TIED.table)) != 0, axis=-1)
    np.testing.assert_array_equal(moved, np.arange(ROWS) < VOCAB)
