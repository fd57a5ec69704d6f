"""Scores of predicted classes: accuracy, F1 and the correlation of Matthews."""

import numpy as np
from numpy.typing import ArrayLike

from pretrain_jax.scores.pairs import check_pairs


def score_classes(labels: ArrayLike, predicted: ArrayLike, classes: int) -> dict[str, float]:
    """The scores of GLUE (Wang et al. 2019, https://arxiv.org/abs/1804.07461) for classes.

    labels, predicted: int [N], from 0 to classes - 1.

        accuracy    share of equal pairs, 0 to 1
        f1          2 classes: F1 of class 1, as in MRPC and QQP. Otherwise macro F1: the mean over
                    the classes that occur in the labels or the predictions. 0 to 1
        matthews    correlation of Matthews, -1 to 1, as in CoLA; 0.0 if all labels or all
                    predictions are the same class, since a constant correlates with nothing

    Raises ValueError unless N is the same and not 0, and all classes are in range.

    >>> score_classes([1, 0, 1, 0], [1, 1, 1, 0], classes=2)
    {'accuracy': 0.75, 'f1': 0.8, 'matthews': 0.577...}
    """
    from sklearn import metrics

    labels, predicted = np.asarray(labels), np.asarray(predicted)
    check_pairs(labels, predicted)
    for numbers in (labels, predicted):
        if numbers.min() < 0 or numbers.max() >= classes:
            raise ValueError(
                f"classes must be from 0 to {classes - 1}; received {numbers.min()} to "
                f"{numbers.max()}"
            )
    average = "binary" if classes == 2 else "macro"
    f1 = metrics.f1_score(labels, predicted, average=average, zero_division=0.0)  # pyright: ignore[reportArgumentType]
    constant = not np.ptp(labels) or not np.ptp(predicted)
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "f1": float(f1),
        "matthews": 0.0 if constant else float(metrics.matthews_corrcoef(labels, predicted)),
    }
