"""Scores of predicted numbers: correlations and the mean squared error."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pretrain_jax.scores.pairs import check_pairs


def score_numbers(labels: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """The scores of STS-B in GLUE, and the mean squared error.

    labels, predicted: float [N].

        pearson     correlation of the numbers, -1 to 1
        spearman    correlation of their ranks, -1 to 1; equal numbers share their mean rank
        mse         mean squared error, in squared units of the labels

    Both correlations are 0.0 if all labels or all predictions are equal (`correlate`). All scores
    are NaN if a number is NaN or infinite: the model has diverged.

    Raises ValueError unless N is the same and not 0.

    >>> score_numbers([1.0, 2.0, 3.0], [2.0, 4.0, 9.0])
    {'pearson': 0.970..., 'spearman': 1.0, 'mse': 13.666...}
    """
    from scipy import stats
    from sklearn import metrics

    labels, predicted = np.asarray(labels, np.float64), np.asarray(predicted, np.float64)
    check_pairs(labels, predicted)
    if not np.isfinite([labels, predicted]).all():
        return dict.fromkeys(("pearson", "spearman", "mse"), math.nan)
    return {
        "pearson": correlate(stats.pearsonr, labels, predicted),
        "spearman": correlate(stats.spearmanr, labels, predicted),
        "mse": float(metrics.mean_squared_error(labels, predicted)),
    }


def correlate(function: Callable[..., Any], labels: np.ndarray, predicted: np.ndarray) -> float:
    """A correlation of scipy.stats of two float64 [N].

    0.0 if all numbers of a side are equal, up to 1e-12 of their size, the rounding of float64. It
    is not defined then (0 / 0), but a model often predicts a constant in its first steps. It has
    not learned anything about the order of the examples yet, and a score of 0.0 says so, can be
    plotted and compares with later ones.
    """
    # Differences that rounding alone made would be correlated as if they said something.
    if any(np.allclose(x, x[0], rtol=1e-12, atol=0.0) for x in (labels, predicted)):
        return 0.0
    return float(function(labels, predicted)[0])
