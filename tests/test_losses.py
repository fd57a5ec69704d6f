"""Token losses: the numbers of the plain formula, with and without chunks, as sums."""

import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import nats
import numpy as np
import pytest

from pretrain_jax import losses
from pretrain_jax.layers.embeddings import Readout

ROWS, LENGTH, WIDTH, VOCAB, PADDED = 2, 12, 8, 61, 128
RNG = np.random.default_rng(0)
HIDDEN = jnp.asarray(RNG.normal(size=(ROWS, LENGTH, WIDTH)), jnp.float32)
TABLE = jnp.asarray(RNG.normal(size=(PADDED, WIDTH)), jnp.float32)  # noise in the padding too
BIAS = jnp.asarray(RNG.normal(size=PADDED), jnp.float32)
TARGETS = jnp.asarray(RNG.integers(VOCAB, size=(ROWS, LENGTH)))


def output(hidden=HIDDEN, table=TABLE, bias=None, scale=1.0) -> Any:
    return SimpleNamespace(hidden=hidden, readout=Readout(table, bias, scale, VOCAB))


def log_softmax(hidden, table, bias: Any = 0.0, scale=1.0):
    """log p [B, L, V] and log Z [B, L] over the true vocabulary, in float64."""
    logits = scale * np.float64(hidden) @ np.asarray(table, np.float64)[:VOCAB].T
    logits = logits + np.broadcast_to(np.float64(bias), (PADDED,))[:VOCAB]
    top = logits.max(-1, keepdims=True)
    log_z = top + np.log(np.exp(logits - top).sum(-1, keepdims=True))
    return logits - log_z, log_z[..., 0]


@pytest.mark.parametrize(("bias", "scale"), [(None, 1.0), (BIAS, 1.0), (None, 0.3), (BIAS, 0.3)])
def test_token_nll_is_minus_log_softmax(bias, scale):
    nll, log_z = nats.token_nll(output(bias=bias, scale=scale), TARGETS)
    log_p, expected_log_z = log_softmax(HIDDEN, TABLE, 0 if bias is None else bias, scale)
    expected = -np.take_along_axis(log_p, np.asarray(TARGETS)[..., None], -1)[..., 0]
    assert nll.shape == log_z.shape == (ROWS, LENGTH)
    np.testing.assert_allclose(nll, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(log_z, expected_log_z, rtol=0, atol=1e-5)


def test_token_nlls_gradient_is_probability_minus_one_hot():
    weights = RNG.normal(size=(ROWS, LENGTH))

    def loss(hidden, table, bias):
        nll, _ = nats.token_nll(output(hidden, table, bias, 0.7), TARGETS)
        return jnp.sum(nll * weights)

    found = jax.jit(jax.grad(loss, (0, 1, 2)))(HIDDEN, TABLE, BIAS)
    log_p, _ = log_softmax(HIDDEN, TABLE, BIAS, 0.7)
    d_logits = np.zeros((ROWS, LENGTH, PADDED))
    d_logits[..., :VOCAB] = np.exp(log_p) - np.eye(VOCAB)[np.asarray(TARGETS)]
    d_logits *= weights[..., None]
    expected = (
        0.7 * d_logits @ np.float64(TABLE),
        0.7 * np.einsum("blv,bld->vd", d_logits, np.float64(HIDDEN)),
        d_logits.sum((0, 1)),
    )
    for name, actual, value in zip(("hidden", "table", "bias"), found, expected, strict=True):
        np.testing.assert_allclose(
            actual, value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=name
        )
    assert np.all(found[1][VOCAB:] == 0)
    assert np.all(found[2][VOCAB:] == 0)


def test_the_padded_vocabulary_has_probability_0():
    readout = output(table=TABLE.at[VOCAB:].set(1e3)).readout
    logits = losses.compute_logits(HIDDEN.reshape(-1, WIDTH), readout)
    probability = jax.nn.softmax(logits)
    assert logits.shape == (ROWS * LENGTH, PADDED)
    assert np.all(probability[:, VOCAB:] == 0)
    np.testing.assert_allclose(probability.sum(-1), 1, rtol=1e-6)


def loss_and_gradient(hidden, table, targets):
    def loss(hidden, table):
        nll, log_z = nats.token_nll(output(hidden, table), targets)
        place = jnp.arange(nll.size).reshape(nll.shape)  # every position counts differently
        return jnp.sum(nll * jnp.cos(place) + 0.1 * jnp.square(log_z)), (nll, log_z)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(hidden, table)


@pytest.mark.parametrize("rows_alive", [12, 6, 5, 1])
def test_chunks_change_nothing(monkeypatch, rows_alive):
    """All 24 rows of logits at once; at most 12, 6, 5 (which does not divide 24) or 1 of them."""
    whole = loss_and_gradient(HIDDEN, TABLE, TARGETS)
    monkeypatch.setattr(losses, "MAX_LOGITS", rows_alive * PADDED)
    for part, value in zip(
        jax.tree.leaves(loss_and_gradient(HIDDEN, TABLE, TARGETS)),
        jax.tree.leaves(whole),
        strict=True,
    ):
        np.testing.assert_allclose(part, value, rtol=0, atol=1e-5 * np.abs(value).max())


def test_large_logits_never_exist_all_at_once(monkeypatch):
    monkeypatch.setattr(losses, "MAX_LOGITS", 6 * PADDED)
    traced = str(jax.make_jaxpr(functools.partial(loss_and_gradient))(HIDDEN, TABLE, TARGETS))
    assert f"f32[{ROWS * LENGTH // 4},{PADDED}]" in traced
    assert f"f32[{ROWS * LENGTH},{PADDED}]" not in traced
    assert f"f32[{ROWS},{LENGTH},{PADDED}]" not in traced


def test_a_prime_number_of_positions_can_be_cut(monkeypatch):
    hidden, targets = HIDDEN[:, :11], TARGETS[:, :11]
    whole = loss_and_gradient(hidden, TABLE, targets)
    monkeypatch.setattr(losses, "MAX_LOGITS", 3 * PADDED)
    part = loss_and_gradient(hidden, TABLE, targets)
    np.testing.assert_allclose(part[0][0], whole[0][0], rtol=1e-5)


def test_logits_are_float32_whatever_the_compute_dtype():
    half = HIDDEN.astype(jnp.bfloat16)
    nll, log_z = nats.token_nll(output(half), TARGETS)
    assert nll.dtype == log_z.dtype == jnp.float32
    log_p, _ = log_softmax(np.float64(half), np.float64(TABLE.astype(jnp.bfloat16)))
    expected = -np.take_along_axis(log_p, np.asarray(TARGETS)[..., None], -1)[..., 0]
    np.testing.assert_allclose(nll, expected, rtol=0, atol=1e-4)


def test_logits_of_ten_thousand_are_finite():
    nll, log_z = nats.token_nll(output(HIDDEN * 1e4), TARGETS)
    assert np.all(np.isfinite(nll))
    assert np.all(np.isfinite(log_z))
    assert np.all(nll >= 0)


def terms(weights, params=HIDDEN):
    batch = {"targets": TARGETS, "weights": jnp.asarray(weights, jnp.float32)}
    return losses.token_loss(lambda params, *_: output(params), params, batch, None, True)


def test_token_loss_is_sums_and_weights():
    weights = RNG.integers(0, 3, size=(ROWS, LENGTH))
    nll, log_z = nats.token_nll(output(), TARGETS)
    found = terms(weights)
    assert set(found) == {"loss", "z_loss"}
    np.testing.assert_allclose(found["loss"][0], np.sum(nll * weights), rtol=1e-6)
    np.testing.assert_allclose(found["z_loss"][0], np.sum(log_z**2 * weights), rtol=1e-6)
    assert found["loss"][1] == found["z_loss"][1] == weights.sum()


def test_positions_of_weight_0_do_not_count():
    weights = np.ones((ROWS, LENGTH))
    weights[0, 3:] = 0
    other = HIDDEN.at[0, 3:].multiply(-2.0)
    for term in ("loss", "z_loss"):
        assert terms(weights)[term] == terms(weights, other)[term]
    gradient = jax.grad(lambda h: terms(weights, h)["loss"][0])(HIDDEN)
    assert np.all(gradient[0, 3:] == 0)
    assert np.all(np.any(gradient[0, :3] != 0, axis=-1))


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("rows_alive", [24, 10, 1])
def test_gradients_formed_in_the_forward_chunk_are_those_of_the_formula(
    monkeypatch, rows_alive, z_loss
):
    """Including the gradient of the z-loss, which the first sum carries."""
    monkeypatch.setattr(losses, "MAX_LOGITS", rows_alive * PADDED)
    weights = jnp.asarray(RNG.uniform(size=(ROWS, LENGTH)), jnp.float32)

    def made(hidden, table, bias):
        shown = output(hidden, table, bias, 0.7)
        shown.readout = shown.readout.replace(z_loss=z_loss)
        return shown

    def plain(*arrays):
        nll, log_z = nats.token_nll(made(*arrays), TARGETS)
        loss, z = jnp.sum(nll * weights), jnp.sum(jnp.square(log_z) * weights)
        return 3 * (loss + z_loss * z), (loss, z)

    def fused(*arrays):
        terms = losses.token_terms(made(*arrays), {"targets": TARGETS, "weights": weights})
        loss, z = terms["loss"][0], terms["z_loss"][0]
        return 3 * (loss + z_loss * z), (loss, z)

    found, expected = (
        jax.jit(jax.value_and_grad(f, (0, 1, 2), has_aux=True))(HIDDEN, TABLE, BIAS)
        for f in (fused, plain)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_logits_are_computed_once_per_step_and_not_again_for_gradients():
    """Three products with the table, forward and backward, each in the dtype of the model."""
    half, weights = HIDDEN.astype(jnp.bfloat16), jnp.ones((ROWS, LENGTH))

    def loss(hidden, table):
        batch = {"targets": TARGETS, "weights": weights}
        return losses.token_terms(output(hidden, table), batch)["loss"][0]

    traced = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(half, TABLE))
    products = [line for line in traced.splitlines() if "dot_general" in line]
    assert len(products) == 3
    rounded = jax.grad(loss, (0, 1))(half, TABLE)
    exact = jax.grad(loss, (0, 1))(half.astype(jnp.float32), TABLE)
    assert rounded[0].dtype == jnp.bfloat16
    assert rounded[1].dtype == jnp.float32
    for one, other in zip(rounded, exact, strict=True):
        np.testing.assert_allclose(
            np.float32(one), other, rtol=0, atol=0.01 * float(jnp.abs(other).max())
        )


def test_sums_over_rows_add_up():
    weights = RNG.integers(0, 2, size=(ROWS, LENGTH))
    rows = np.arange(ROWS)[:, None]
    first, second = (terms(weights * (rows == row)) for row in range(ROWS))
    for term, (total, weight) in terms(weights).items():
        np.testing.assert_allclose(first[term][0] + second[term][0], total, rtol=1e-6)
        assert first[term][1] + second[term][1] == weight


def test_a_batch_without_predictions_is_0_over_0_and_not_nan():
    for total, weight in terms(np.zeros((ROWS, LENGTH))).values():
        assert (total, weight) == (0, 0)


def test_a_batch_with_too_many_logits_per_position_still_works():
    """Chunks have at least one position, however many rows there are."""
    hidden = jax.ShapeDtypeStruct((3072, 4, 8), jnp.float32)
    table = jax.ShapeDtypeStruct((1 << 18, 8), jnp.float32)

    def nll(hidden, table, targets):
        output = SimpleNamespace(hidden=hidden, readout=Readout(table, None, 1.0, 1 << 18))
        return nats.token_nll(output, targets)

    shape = jax.eval_shape(nll, hidden, table, jax.ShapeDtypeStruct((3072, 4), jnp.int32))
    assert shape[0].shape == (3072, 4)


def test_hits_are_where_the_target_is_the_likeliest():
    logits = np.asarray(
        losses.compute_logits(HIDDEN.reshape(-1, HIDDEN.shape[-1]), output(HIDDEN).readout)
    )
    best = logits.argmax(-1).reshape(TARGETS.shape)
    wanted = np.where(np.arange(TARGETS.size).reshape(TARGETS.shape) % 2, best, (best + 1) % 7)
    _, hits = losses.nll_and_hits(output(HIDDEN), jnp.asarray(wanted))
    np.testing.assert_array_equal(hits, wanted == best)
    assert 0 < np.sum(hits) < hits.size


def test_samples_follow_the_softmax_and_do_not_depend_on_chunks(monkeypatch):
    hidden = jnp.broadcast_to(HIDDEN[:1, :1], (50, 60, HIDDEN.shape[-1]))
    rng, wanted = jax.random.key(3), jnp.zeros((50, 60), jnp.int32)
    drawn = losses.nll_and_sample(output(hidden), wanted, rng)[2]
    chance = jax.nn.softmax(losses.compute_logits(hidden[0, :1], output(hidden).readout))[0]
    counts = np.bincount(np.asarray(drawn).ravel(), minlength=len(chance))
    error = np.sqrt(drawn.size * np.asarray(chance * (1 - chance)))
    assert np.all(np.abs(counts - drawn.size * np.asarray(chance)) <= 4 * error + 1e-6)
    monkeypatch.setattr(losses, "MAX_LOGITS", 50 * 7 * PADDED)  # 7 does not divide 60
    np.testing.assert_array_equal(losses.nll_and_sample(output(hidden), wanted, rng)[2], drawn)


def test_metrics_count_text_targets_alone():
    weights = jnp.ones(TARGETS.shape).at[0].set(0.0)
    batch = {"targets": TARGETS, "weights": weights}
    special = jnp.zeros(VOCAB, bool).at[TARGETS[1, 0]].set(True)
    found = losses.token_metrics(lambda *_: output(HIDDEN), None, batch, None, special)
    text = np.array(weights > 0) & ~np.asarray(special)[np.asarray(TARGETS)]
    nll, _ = nats.token_nll(output(HIDDEN), TARGETS)
    _, hits = losses.nll_and_hits(output(HIDDEN), TARGETS)
    assert found["text"] == (pytest.approx(float(np.sum(nll[text])), rel=1e-5), text.sum())
    assert found["accuracy"] == (np.sum(hits[text]), text.sum())
    assert text.sum() < TARGETS.size - TARGETS.shape[1]
