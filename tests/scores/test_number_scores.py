"""Scores of numbers: scipy's correlations, and 0.0 where they are not defined."""

import math

import numpy as np
import pytest
from scipy import stats

from pretrain_jax.scores.regression import score_numbers


def test_in_numbers():
    """Deviations from the means: -1, 0, 1 and -2, 1, 1, which gives 3 / sqrt(2 * 6)."""
    assert score_numbers([1, 2, 3], [1, 4, 4]) == {
        "pearson": pytest.approx(3 / math.sqrt(12)),
        "spearman": pytest.approx(1.5 / math.sqrt(2 * 1.5)),  # ranks 1, 2, 3 and 1, 2.5, 2.5
        "mse": pytest.approx((0 + 4 + 1) / 3),
    }


def test_order_alone_decides_the_correlation_of_ranks():
    scores = score_numbers([0.0, 1.0, 2.0, 3.0], [1.0, 10.0, 100.0, 1000.0])
    assert scores["spearman"] == pytest.approx(1) and scores["pearson"] < 0.9
    assert score_numbers([0.0, 1.0, 2.0], [5.0, 4.0, 3.0])["pearson"] == pytest.approx(-1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_correlations_are_those_of_scipy(dtype):
    labels = np.random.default_rng(0).normal(size=300).astype(dtype)
    predicted = np.round(labels + np.random.default_rng(1).normal(size=300), 1).astype(dtype)
    wide, guess = labels.astype(np.float64), predicted.astype(np.float64)
    assert score_numbers(labels, predicted) == {
        "pearson": pytest.approx(stats.pearsonr(wide, guess)[0]),
        "spearman": pytest.approx(stats.spearmanr(wide, guess)[0]),
        "mse": pytest.approx(np.mean((wide - guess) ** 2)),
    }


@pytest.mark.parametrize(
    "labels, predicted, mse",
    [
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], 2 / 3),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], 2 / 3),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0], [3.0], 4.0),
        ([0.0, 1.0], [0.3, 0.1 + 0.2], (0.3**2 + 0.7**2) / 2),  # differ by rounding alone
    ],
)
def test_a_constant_has_no_correlation_and_no_warning(labels, predicted, mse):
    """A warning would be an error in this suite."""
    expected = {"pearson": 0.0, "spearman": 0.0, "mse": pytest.approx(mse)}
    assert score_numbers(labels, predicted) == expected


def test_neighbours_of_float32_are_not_a_constant():
    """What a model predicts is float32; the smallest difference there has a correlation."""
    low = np.float32(2.5)
    predicted = np.array([low, np.nextafter(low, np.float32(3)), low], np.float32)
    assert score_numbers([0.0, 1.0, 0.0], predicted)["pearson"] == pytest.approx(1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_diverged_model_has_no_score(bad):
    for scores in (score_numbers([1.0, 2.0], [bad, 1.0]), score_numbers([bad, 2.0], [2.0, 1.0])):
        assert scores.keys() == {"pearson", "spearman", "mse"}
        assert all(math.isnan(score) for score in scores.values())


@pytest.mark.parametrize("labels, predicted", [([], []), ([0, 1], [0]), ([0], [0, 1])])
def test_one_prediction_for_each_label(labels, predicted):
    with pytest.raises(ValueError, match=f"{len(labels)} labels and {len(predicted)} predictions"):
        score_numbers(labels, predicted)
