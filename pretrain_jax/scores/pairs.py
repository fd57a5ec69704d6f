"""The contract of all scores: one prediction for each label."""

from collections.abc import Sized


def check_pairs(labels: Sized, predicted: Sized) -> None:
    """Raises ValueError unless there are as many predictions as labels, and at least one."""
    if len(labels) != len(predicted) or not len(labels):
        raise ValueError(
            "scores need one prediction for each label, and at least one; received "
            f"{len(labels)} labels and {len(predicted)} predictions"
        )
