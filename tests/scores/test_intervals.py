"""Bootstrap intervals: they contain the true value as often as they say."""

import numpy as np
import pytest

from pretrain_jax.scores.intervals import bootstrap, interval_of_constant


def mean(columns):
    return columns["x"].mean()


def test_intervals_contain_the_true_accuracy_in_95_percent_of_samples():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(400):
        low, high = bootstrap(mean, {"x": (rng.random(200) < 0.7).astype(float)}, 400, seed=seed)
        hits += low <= 0.7 <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_an_interval_is_wider_for_fewer_items_and_repeats():
    rng = np.random.default_rng(0)
    x = (rng.random(1000) < 0.5).astype(float)
    (a, b), (c, d) = bootstrap(mean, {"x": x}), bootstrap(mean, {"x": x[:50]})
    assert d - c > 2 * (b - a)
    assert bootstrap(mean, {"x": x}) == (a, b)


def test_columns_are_drawn_together():
    x = np.arange(100.0)
    low, high = bootstrap(lambda c: (c["x"] - c["y"]).mean(), {"x": x, "y": x - 3})
    assert low == pytest.approx(3) and high == pytest.approx(3)


def test_items_that_are_all_right_leave_room_for_wrong_ones():
    low, high = interval_of_constant(1.0, 10)
    assert (low, high) == (pytest.approx(0.6915, abs=1e-3), 1.0)
    low, high = interval_of_constant(0.0, 10)
    assert (low, high) == (0.0, pytest.approx(0.3085, abs=1e-3))


def test_no_items_have_no_interval():
    assert all(map(np.isnan, bootstrap(mean, {"x": np.zeros(0)})))


def test_one_item_has_no_interval_and_undefined_resamples_do_not_count():
    mean = lambda columns: float(columns["x"].mean())  # noqa: E731
    assert np.isnan(bootstrap(mean, {"x": np.ones(1)})).all()
    either = lambda columns: mean(columns) if np.ptp(columns["x"]) else np.nan  # noqa: E731
    low, high = bootstrap(either, {"x": np.array([0.0, 1.0])})
    assert low == high == 0.5
    assert np.isnan(bootstrap(lambda columns: np.nan, {"x": np.ones(3)})).all()
