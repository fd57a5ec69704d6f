"""One update: sums before division, no damage by NaN, the same bits every time."""

import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import nats
import numpy as np
import optax
import pytest

from pretrain_jax import losses
from pretrain_jax.layers.axes import is_box
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import gpt
from pretrain_jax.step import Program, TrainState, eval_step, microbatches, train_step

VOCAB, ROWS, LENGTH = 61, 8, 12
REAL = [12, 1, 7, 3, 12, 2, 5, 9]
"""Tokens of each row; the rest is padding. Microbatches of rows i, i + 4 have 24, 3, 12, 12."""


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    real = np.arange(LENGTH) < np.array(REAL)[:, None]
    fields = {
        "tokens": rng.integers(VOCAB, size=(ROWS, LENGTH)) * real,
        "targets": rng.integers(VOCAB, size=(ROWS, LENGTH)) * real,
        "segments": real,
        "positions": np.arange(LENGTH) * real,
    }
    batch = {name: jnp.asarray(field, jnp.int32) for name, field in fields.items()}
    return {**batch, "weights": jnp.asarray(real, jnp.float32)}


def model(dropout=0.0):
    return gpt.build(
        BuildContext(z_loss=0.01),
        vocab_size=VOCAB,
        layers=2,
        width=16,
        heads=2,
        feed_forward=32,
        max_length=LENGTH,
        dropout=dropout,
    )


def apply(params, batch, rng, train, dropout=0.0):
    rngs = {"dropout": rng} if train else {}
    return model(dropout).apply({"params": params}, batch, train, rngs=rngs)


def program(**changes: Any) -> Program:
    schedule = lambda step: 0.1 / (step + 1)  # noqa: E731
    values: dict[str, Any] = {
        "apply": apply,
        "loss": losses.token_loss,
        "metrics": losses.token_metrics,
        "coefficients": {"loss": 1.0, "z_loss": 0.01},
        "optimizer": optax.sgd(schedule, momentum=0.9),
        "schedule": schedule,
        "clip_norm": 0.0,
        "accumulate": 1,
        "seed": 0,
        "predict": lambda *_: {},
        "dtype": jnp.float32,
    }
    return Program(**{**values, **changes})


@functools.cache
def compiled(what: Program):
    return jax.jit(functools.partial(train_step, program=what))


PLAIN = program()
DROPPING = program(apply=functools.partial(apply, dropout=0.5))


@functools.cache
def first_params():
    batch = make_batch()
    variables = jax.jit(lambda key: model().init(key, batch, False))(jax.random.key(0))
    params = jax.tree.map(lambda box: box.value, variables["params"], is_leaf=is_box)
    return jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), params)


def fresh(what: Program, step=0) -> TrainState:
    params = jax.tree.map(jnp.copy, first_params())
    return TrainState(jnp.int32(step), params, what.optimizer.init(params))


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def test_a_step_is_the_gradient_of_the_objective_through_the_optimizer():
    batch, state = make_batch(), fresh(PLAIN)

    def objective(params):
        nll, log_z = nats.token_nll(apply(params, batch, None, False), batch["targets"])
        each = nll + 0.01 * jnp.square(log_z)
        return jnp.sum(each * batch["weights"]) / sum(REAL), jnp.sum(nll * batch["weights"])

    (value, nll), gradients = jax.jit(jax.value_and_grad(objective, has_aux=True))(state.params)
    after, metrics = compiled(PLAIN)(state, batch)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradients)
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert metrics["objective"] == pytest.approx(float(value), rel=1e-6)
    assert metrics["loss"] == pytest.approx(float(nll) / sum(REAL), rel=1e-6)
    assert metrics["grad_norm"] == pytest.approx(float(optax.tree.norm(gradients)), rel=1e-5)
    assert metrics["learning_rate"] == np.float32(0.1)
    assert (metrics["tokens"], metrics["finite"], after.step) == (sum(REAL), 1, 1)
    assert all(value.dtype == jnp.float32 for value in metrics.values())


@pytest.mark.parametrize("accumulate", [2, 4])
def test_microbatches_of_uneven_padding_are_the_whole_batch(accumulate):
    whole, expected = compiled(PLAIN)(fresh(PLAIN), make_batch())
    parts, metrics = compiled(program(accumulate=accumulate))(fresh(PLAIN), make_batch())
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-6), name
    for part, value in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(part, value, rtol=0, atol=1e-6)


def test_a_mean_of_means_would_be_another_step():
    """It shows that the test above can fail."""
    batch = make_batch()
    nll, _ = nats.token_nll(apply(first_params(), batch, None, False), batch["targets"])
    by_row = jnp.sum(nll * batch["weights"], axis=1) / jnp.asarray(REAL)
    _, metrics = compiled(PLAIN)(fresh(PLAIN), batch)
    assert abs(float(jnp.mean(by_row)) / float(metrics["loss"]) - 1) > 1e-3


def test_a_microbatch_of_padding_alone_does_not_count():
    batch = make_batch()
    rows = jnp.arange(ROWS)[:, None] % 2
    empty = {name: jnp.where(rows == 1, 0, field) for name, field in batch.items()}
    whole, expected = compiled(PLAIN)(fresh(PLAIN), empty)
    parts, metrics = compiled(program(accumulate=2))(fresh(PLAIN), empty)
    assert metrics["loss"] == pytest.approx(float(expected["loss"]), rel=1e-6)
    assert metrics["finite"] == 1
    for part, value in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(part, value, rtol=0, atol=1e-6)


def test_microbatches_take_every_nth_row():
    parts = microbatches(jnp.arange(6).reshape(6, 1), 2)
    assert parts[:, :, 0].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_a_batch_without_predictions_moves_nothing_and_is_finite():
    batch = jax.tree.map(jnp.zeros_like, make_batch())
    after, metrics = compiled(PLAIN)(fresh(PLAIN), batch)
    assert (metrics["loss"], metrics["grad_norm"], metrics["finite"]) == (0, 0, 1)
    assert_same_bits(after.params, first_params())


def test_clipping_scales_the_gradient_to_the_norm():
    _, before = compiled(PLAIN)(fresh(PLAIN), make_batch())
    norm = float(before["grad_norm"])
    after, metrics = compiled(program(clip_norm=norm / 4))(fresh(PLAIN), make_batch())
    assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-6)  # before clipping
    moved = jax.tree.map(lambda a, b: a - b, after.params, first_params())
    assert float(optax.tree.norm(moved)) == pytest.approx(0.1 * norm / 4, rel=1e-3)


def test_the_state_is_donated():
    what = PLAIN
    step = jax.jit(functools.partial(train_step, program=what), donate_argnums=0)
    state = fresh(what)
    after, _ = step(state, make_batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


def poisoned(params, batch, rng, train, value=jnp.nan):
    """A model whose loss is not finite when the first token is 60."""
    output: Any = apply(params, batch, rng, train)
    bad = jnp.where(batch["tokens"][0, 0] == 60, value, 1.0)
    return output.replace(hidden=output.hidden * bad)


def steep(params, batch, rng, train):
    """A finite loss with an infinite gradient when the first token is 60: sqrt(0)."""
    output: Any = apply(params, batch, rng, train)
    zero = jnp.where(batch["tokens"][0, 0] == 60, 0.0, 1.0)
    return output.replace(hidden=output.hidden + jnp.sqrt(zero * output.hidden[..., :1] ** 2))


@pytest.mark.parametrize(
    "bad",
    [poisoned, functools.partial(poisoned, value=jnp.inf), steep],
    ids=["nan", "inf", "slope"],
)
def test_a_step_that_is_not_finite_keeps_the_old_state(bad):
    what = program(apply=bad)
    batch = make_batch()
    state, metrics = compiled(what)(
        fresh(what), {**batch, "tokens": batch["tokens"].at[0, 0].set(1)}
    )
    assert metrics["finite"] == 1
    kept, metrics = compiled(what)(state, {**batch, "tokens": batch["tokens"].at[0, 0].set(60)})
    assert metrics["finite"] == 0
    if bad is steep:
        assert np.isfinite(metrics["objective"])
    assert_same_bits(kept, state)
    assert kept.step == 1


def test_the_random_numbers_of_a_step_depend_on_seed_and_step():
    batch, step = make_batch(), compiled(DROPPING)
    again = [step(fresh(DROPPING, at), batch) for at in (0, 0, 1)]
    assert_same_bits(again[0], again[1])
    assert again[0][1]["loss"] != again[2][1]["loss"]
    other_seed = program(apply=DROPPING.apply, seed=1)
    assert compiled(other_seed)(fresh(DROPPING), batch)[1]["loss"] != again[0][1]["loss"]


def test_repeated_and_resumed_steps_have_the_same_bits():
    def run(first, last, state):
        found = []
        for seed in range(first, last):
            state, metrics = compiled(DROPPING)(state, make_batch(seed))
            found.append(jax.device_get(metrics))
        return state, found

    whole, metrics = run(0, 6, fresh(DROPPING))
    half, before = run(0, 3, fresh(DROPPING))
    resumed = jax.tree.map(jnp.asarray, jax.device_get(half))  # through numpy, as in a checkpoint
    rest, after = run(3, 6, resumed)
    assert_same_bits(rest, whole)
    assert_same_bits(before + after, metrics)


def test_microbatches_draw_separate_dropout():
    """Two microbatches of equal rows have unequal losses, so the sum is not twice one of them."""
    one = {name: jnp.repeat(field[:1], ROWS, axis=0) for name, field in make_batch().items()}

    def loss(apply, params, part, rng, train):
        noise = jax.random.normal(rng)
        return {"loss": (noise, jnp.float32(1)), "square": (noise**2, jnp.float32(1))}

    what = program(loss=loss, coefficients={"loss": 1.0, "square": 1.0}, accumulate=4)
    _, metrics = compiled(what)(fresh(what), one)
    assert float(metrics["square"]) - float(metrics["loss"]) ** 2 > 1e-3


def test_evaluation_is_sums_without_dropout():
    """Text tokens are the targets that have a weight and are not special."""
    batch, params = make_batch(), first_params()
    special = jnp.zeros(VOCAB, bool).at[jnp.array([0, 7, 11])].set(True)
    evaluate = jax.jit(functools.partial(eval_step, program=DROPPING))
    found = evaluate(params, batch, special)
    assert_same_bits(found, evaluate(params, batch, special))
    nll, _ = nats.token_nll(apply(params, batch, None, False), batch["targets"])
    real = np.asarray(batch["weights"]) > 0
    text = real & ~np.isin(batch["targets"], [0, 7, 11])
    assert 0 < text.sum() < real.sum()
    assert found["loss"] == (pytest.approx(float(np.sum(nll[real])), rel=1e-5), sum(REAL))
    assert found["text"] == (pytest.approx(float(np.sum(nll[text])), rel=1e-5), text.sum())


def test_a_target_of_weight_0_cannot_spoil_the_text_sum():
    """Its likelihood may be 0 and its nll infinite: 0 x inf would be NaN."""
    table = jnp.zeros((128, 4)).at[1, 0].set(jnp.inf)

    def apply(params, batch, rng, train):
        hidden = jnp.zeros((1, 2, 4)).at[0, 1, 0].set(1.0)
        return SimpleNamespace(hidden=hidden, readout=Readout(params, None, 1.0, VOCAB))

    def no_terms(*_):
        return {}

    what = program(apply=apply, loss=no_terms)
    batch = {"targets": jnp.array([[2, 3]]), "weights": jnp.array([[1.0, 0.0]])}
    found = eval_step(table.at[1, 0].set(1e30), batch, jnp.zeros(VOCAB, bool), what)
    assert found["text"] == (pytest.approx(np.log(VOCAB), rel=1e-6), 1)
