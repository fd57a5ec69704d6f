"""Scores of classes: sklearn's numbers, GLUE's choice of F1, and constants without warnings."""

import numpy as np
import pytest
from sklearn import metrics

from pretrain_jax.scores.classification import score_classes


def test_two_classes_in_numbers():
    """Of 8: 3 true positives, 1 false positive, 2 false negatives, 2 true negatives."""
    labels, predicted = [1, 1, 1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]
    assert score_classes(labels, predicted, classes=2) == {
        "accuracy": pytest.approx(5 / 8),
        "f1": pytest.approx(6 / 9),
        "matthews": pytest.approx((3 * 2 - 1 * 2) / np.sqrt(4 * 5 * 3 * 4)),
    }


def test_f1_of_two_classes_is_that_of_class_one():
    labels, predicted = [0, 0, 0, 1], [0, 0, 0, 0]
    assert score_classes(labels, predicted, classes=2)["f1"] == 0.0
    assert score_classes([1, 1, 1, 0], [1, 1, 1, 1], classes=2)["f1"] == pytest.approx(6 / 7)


def test_f1_of_more_classes_is_the_mean_over_those_that_occur():
    labels, predicted = [0, 0, 1, 1], [0, 1, 1, 1]
    expected = (2 / 3 + 4 / 5) / 2
    assert score_classes(labels, predicted, classes=9)["f1"] == pytest.approx(expected)
    never_right = score_classes([0, 0, 1, 1], [0, 0, 1, 3], classes=9)["f1"]
    assert never_right == pytest.approx((1 + 2 / 3 + 0) / 3)


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_the_scores_are_those_of_sklearn(classes):
    labels, predicted = np.random.default_rng(classes).integers(classes, size=(2, 500))
    average = "binary" if classes == 2 else "macro"
    assert score_classes(labels, predicted, classes) == {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "f1": metrics.f1_score(labels, predicted, average=average),
        "matthews": metrics.matthews_corrcoef(labels, predicted),
    }


@pytest.mark.parametrize(
    "labels, predicted, classes, accuracy, f1",
    [
        ([0, 1, 1, 0], [0, 0, 0, 0], 2, 0.5, 0.0),
        ([0, 1, 1, 0], [1, 1, 1, 1], 2, 0.5, 2 / 3),
        ([0, 0, 0, 0], [0, 1, 1, 0], 2, 0.5, 0.0),
        ([0, 0], [0, 0], 2, 1.0, 0.0),
        ([1, 1], [1, 1], 2, 1.0, 1.0),
        ([0], [1], 2, 0.0, 0.0),
        ([2, 1, 0], [1, 1, 1], 3, 1 / 3, 1 / 6),
        ([1], [1], 3, 1.0, 1.0),
    ],
)
def test_a_constant_has_no_correlation_and_no_warning(
    labels, predicted, classes, accuracy, f1, capfd
):
    """A warning would be an error in this suite."""
    assert score_classes(labels, predicted, classes) == {
        "accuracy": pytest.approx(accuracy),
        "f1": pytest.approx(f1),
        "matthews": 0.0,
    }
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("labels, predicted", [([], []), ([0, 1], [0]), ([0], [0, 1])])
def test_one_prediction_for_each_label(labels, predicted):
    with pytest.raises(ValueError, match=f"{len(labels)} labels and {len(predicted)} predictions"):
        score_classes(labels, predicted, classes=2)


@pytest.mark.parametrize("labels, predicted", [([0, 2], [0, 1]), ([0, 1], [0, 2]), ([-1], [0])])
def test_classes_are_in_range(labels, predicted):
    with pytest.raises(ValueError, match="from 0 to 1"):
        score_classes(labels, predicted, classes=2)
