"""Which tokens move a hidden state, by gradient: exact zeros for every architecture."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import nats
import numpy as np
import pytest
import tiny

from pretrain_jax.layers.stacks import BuildContext

L = tiny.LENGTH
every_backend = pytest.mark.parametrize("backend", ["plain", "cpu"])


@functools.cache
def compiled(name, backend, attention="causal"):
    """params, batch [1, L] -> bool [L, L]: whether hidden i moves with the embedding of token j.

    All tokens of a row differ, so each row of the table has the gradient of one position.
    """
    model = tiny.build(name, BuildContext(attention, attention_backend=backend))
    directions = np.random.default_rng(1).normal(size=(L, tiny.SIZES["width"]))
    cotangents = jnp.asarray(np.eye(L)[:, None, :, None] * directions, jnp.float32)

    def depends(params, batch):
        def hidden(table):
            variables: Any = {"params": tiny.with_table(params, lambda _: table)}
            output: Any = model.apply(variables, batch, False)
            return output.hidden

        _, back = jax.vjp(hidden, tiny.table(params))
        (by_row,) = jax.vmap(back)(cotangents)
        return jnp.any(by_row != 0, axis=-1)[:, batch["tokens"][0]]

    return jax.jit(depends), tiny.randomise(tiny.init(model))


def visible(name, backend, row, attention="causal", **more):
    depends, params = compiled(name, backend, attention)
    return np.asarray(depends(params, tiny.pack([row], **more))).astype(int)


@every_backend
@pytest.mark.parametrize("name", tiny.DECODERS)
def test_a_position_depends_only_on_itself_and_the_past(name, backend):
    np.testing.assert_array_equal(visible(name, backend, [L]), np.tri(L, dtype=int))


@every_backend
@pytest.mark.parametrize("name", tiny.DECODERS)
def test_documents_and_padding_never_attend_to_each_other(name, backend):
    """Documents of 6, 1 and 5 tokens and 4 positions of padding, which may see other padding."""
    expected = np.zeros((L, L), int)
    for start, end in ((0, 6), (6, 7), (7, 12), (12, 16)):
        expected[start:end, start:end] = np.tri(end - start)
    seen = visible(name, backend, [6, 1, 5])
    np.testing.assert_array_equal(seen[:12], expected[:12])
    assert np.all(seen[12:] <= expected[12:])


@every_backend
@pytest.mark.parametrize("name", tiny.PREFIX_DECODERS)
def test_a_prefix_is_visible_to_all_of_its_document(name, backend):
    """Documents of 6 and 7 tokens, the first 3 and 2 of them prefix."""
    prefix = np.zeros((1, L), bool)
    prefix[0, [0, 1, 2, 6, 7]] = True
    expected = np.zeros((L, L), int)
    for start, end, n in ((0, 6, 3), (6, 13, 2), (13, 16, 0)):
        expected[start:end, start:end] = np.tri(end - start)
        expected[start:end, start : start + n] = 1
    np.testing.assert_array_equal(visible(name, backend, [6, 7], "prefix", prefix=prefix), expected)


@pytest.mark.parametrize("name", tiny.DECODERS)
def test_padding_gets_no_gradient(name):
    attention = tiny.architecture(name).attention[0]
    model = tiny.build(name, BuildContext(attention, attention_backend="cpu"))
    params = tiny.randomise(tiny.init(model))
    batch = tiny.pack([[6, 5]])
    weights = (batch["segments"] > 0).astype(jnp.float32)

    def loss(params):
        """The read-out has no gradient, so the table's comes only from the tokens."""
        output: Any = model.apply({"params": params}, batch, False)
        fixed = output.replace(readout=jax.lax.stop_gradient(output.readout))
        nll, log_z = nats.token_nll(fixed, jnp.full((1, L), 3))
        return jnp.sum(weights * (nll + jnp.square(log_z)))

    by_row = tiny.table(jax.jit(jax.grad(loss))(params))
    moved = np.any(np.asarray(by_row) != 0, axis=-1)
    np.testing.assert_array_equal(moved, np.arange(128) < 11)
