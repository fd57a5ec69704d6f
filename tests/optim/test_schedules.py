"""Schedules at their corners, and the rate that the n-th update really gets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pretrain_jax.errors import ConfigError
from pretrain_jax.optim.schedules import SCHEDULES, build_schedule, resolve_decay_steps
from pretrain_jax.registry import options

PEAK = 6e-4


def rates(name, counts, **changes):
    numbers = {"learning_rate": PEAK, "warmup_steps": 100, "decay_steps": 1000, **changes}
    schedule = build_schedule(name, **numbers)
    return [float(schedule(count)) for count in counts]


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "warmup_stable_decay"])
def test_warm_up_wastes_no_update_and_ends_at_the_peak(name):
    first, middle, last, after = rates(name, [0, 49, 99, 100])
    assert first == pytest.approx(PEAK / 100)
    assert middle == pytest.approx(PEAK / 2)
    assert last == pytest.approx(PEAK)
    assert after == pytest.approx(PEAK)


@pytest.mark.parametrize(
    ("name", "own", "middle", "end"),
    [
        ("constant", {}, 1.0, 1.0),
        ("linear", {}, 0.5, 0.0),
        ("linear", {"final": 0.2}, 0.6, 0.2),
        ("cosine", {}, 0.55, 0.1),
        ("cosine", {"final": 0.0}, 0.5, 0.0),
        ("warmup_stable_decay", {}, 1.0, 0.0),
    ],
)
def test_middle_end_and_beyond(name, own, middle, end):
    got = rates(name, [550, 1000, 5000], **own)
    np.testing.assert_allclose(got, PEAK * np.array([middle, end, end]), rtol=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine", "warmup_stable_decay"])
def test_the_last_update_of_the_decay_still_moves(name):
    assert rates(name, [999], final=0.0)[0] > 0


def test_cosine_is_half_a_cosine_at_every_quarter():
    got = rates("cosine", [100, 325, 775, 1000], final=0.0)
    quarters = 0.5 * (1 + np.cos(np.pi * np.array([0, 0.25, 0.75, 1])))
    np.testing.assert_allclose(got, PEAK * quarters, rtol=1e-6, atol=1e-11)


def test_linear_keeps_its_last_rates_accurate_over_a_million_steps():
    got = rates("linear", [999_999, 1_000_000], decay_steps=1_000_000, warmup_steps=0)
    assert got[0] == pytest.approx(PEAK / 1e6, rel=1e-6)
    assert got[1] == 0.0


def test_warmup_stable_decay_decays_in_its_last_part_only():
    counts = [800, 900, 950, 999, 1000]
    got = rates("warmup_stable_decay", counts, final=0.2)
    np.testing.assert_allclose(got, PEAK * np.array([1, 1, 0.6, 0.208, 0.2]), rtol=1e-6)
    longer = rates("warmup_stable_decay", [800, 900], decay_fraction=0.2)
    np.testing.assert_allclose(longer, PEAK * np.array([1, 0.5]), rtol=1e-6)


def test_warmup_stable_decay_never_decays_inside_its_warm_up():
    got = rates("warmup_stable_decay", [499, 500, 750], warmup_steps=500, decay_fraction=1.0)
    np.testing.assert_allclose(got, PEAK * np.array([1, 1, 0.5]), rtol=1e-6)


def test_inverse_square_root_is_t5s():
    numbers = {"learning_rate": 1.0, "warmup_steps": 10_000}
    got = rates("inverse_square_root", [0, 5_000, 10_000, 40_000], **numbers)
    np.testing.assert_allclose(got, [0.01, 0.01, 0.01, 0.005], rtol=1e-6)


def test_inverse_square_root_with_a_ramp_is_the_transformers():
    factor, warm = 512**-0.5, 4000
    updates = np.array([1, 2000, 4000, 16_001])
    got = rates(
        "inverse_square_root", updates - 1, learning_rate=factor, warmup_steps=warm, ramp=True
    )
    paper = factor * np.minimum(updates**-0.5, updates * warm**-1.5)
    np.testing.assert_allclose(got, paper, rtol=1e-4)  # beyond the ramp, counts are one lower


def test_inverse_square_root_without_warm_up_is_finite():
    got = rates("inverse_square_root", [0, 1, 4], learning_rate=1.0, warmup_steps=0)
    np.testing.assert_allclose(got, [1, 1, 0.5], rtol=1e-6)


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_without_warm_up_the_first_update_gets_the_peak(warmup_steps):
    assert rates("cosine", [0], warmup_steps=warmup_steps) == pytest.approx([PEAK])


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_logged_rate_has_the_bits_of_the_rate_used(name):
    """As in a training step: both are in one program, compiled with the users' options."""
    schedule = build_schedule(name, learning_rate=PEAK, warmup_steps=7, decay_steps=29)
    tx = optax.scale_by_learning_rate(schedule)

    as_users = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}

    @partial(jax.jit, compiler_options=as_users)
    def update(count, params, state):
        updates, state = tx.update({"w": jnp.ones(3)}, state)
        return optax.apply_updates(params, updates), updates, state, schedule(count)

    params = {"w": jnp.zeros(3)}
    state = tx.init(params)
    for count in range(40):
        params, updates, state, logged = update(count, params, state)
        assert float(logged) == -float(updates["w"][0])


def test_a_run_shorter_than_its_warm_up_stays_in_it():
    decay_steps = resolve_decay_steps(decay_steps=0, warmup_steps=2000, train_steps=100)
    got = rates("cosine", [0, 99, 1999], warmup_steps=2000, decay_steps=decay_steps)
    np.testing.assert_allclose(got, PEAK * np.array([1 / 2000, 0.05, 1]), rtol=1e-6)


def test_decay_steps_are_the_runs_unless_given():
    assert resolve_decay_steps(decay_steps=0, warmup_steps=10, train_steps=500) == 500
    assert resolve_decay_steps(decay_steps=260, warmup_steps=10, train_steps=500) == 260


def test_the_options_of_a_schedule_are_config_keys():
    assert options(SCHEDULES["cosine"])["final"].default == 0.1
    assert options(SCHEDULES["linear"])["final"].default == 0.0


@pytest.mark.parametrize("builder", SCHEDULES.values())
def test_schedules_take_numbers_of_build_schedule_with_its_defaults(builder):
    """So that a config section asks for them once. Some schedules ignore decay_steps."""
    own, common = options(builder), options(build_schedule)
    taken = {key: own[key] for key in common if key in own}
    assert taken == {key: common[key] for key in taken}
    assert common.keys() - taken.keys() <= {"decay_steps"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "cosin"}, "optimizer.schedule must be one of .*did you mean cosine"),
        ({"warmup_steps": 2000}, "at least optimizer.warmup_steps.*received 1000 and 2000. Raise"),
        ({"decay_steps": 0}, "optimizer.schedule=cosine needs.*Set it, usually to train.steps"),
    ],
)
def test_mistakes_are_named(changes, message):
    numbers = {
        "name": "cosine",
        "learning_rate": PEAK,
        "warmup_steps": 100,
        "decay_steps": 1000,
        **changes,
    }
    with pytest.raises(ConfigError, match=message):
        build_schedule(**numbers)
