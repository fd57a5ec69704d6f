"""Regression: a number for each text or pair of texts, such as the similarity of STS-B.

BERT's recipe for STS-B (Devlin et al. 2019, section 4.1, and transformers' run_glue.py): the head
has one output, and the loss is the mean squared error. The records "good" with 3.8 and "bad" with
0.5 have labels 3.8 and 0.5; everything else is as in classify.py.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, registry
from pretrain_jax.errors import BadLabel, short_repr
from pretrain_jax.objectives import ExampleTask, Objective, _labelled
from pretrain_jax.objectives._formats import pick_format
from pretrain_jax.ragged import Ragged
from pretrain_jax.scores.regression import score_numbers

NAME = "regress"
METRICS = ("pearson", "spearman")


def build(
    model: Any, *, texts: int = 0, metric: str = "pearson", dropout: float = 0.1, per_row: int = 0
) -> Objective:
    """The objective of regression.

    texts, dropout, per_row   see objectives/__init__.py
    metric                    the metric that chooses the best checkpoint: pearson or spearman
    """
    registry.check_name(metric, METRICS, "objective.metric")
    task = ExampleTask(
        read_labels=read_numbers,
        predict=predict,
        report=report,
        score=score,
        metric=metric,
        texts=texts,
    )
    return Objective(
        **_labelled.objective_arguments(
            pick_format(model), texts, per_row, task, labels="label_values"
        ),
        **_labelled.head(NAME, model, 1, dropout),
        loss=loss,
    )


def read_numbers(texts: list[str | None]) -> Ragged:
    """Each label as a number, float32. Raises BadLabel for a label that is not a finite one.

    >>> read_numbers(["3.8", None]).values
    array([3.8], dtype=float32)
    """
    for record, text in enumerate(texts):
        if text is not None and not is_number(text):
            raise BadLabel(
                "every label of a regression must be a finite number, such as 3.8; "
                f"{BadLabel.RECORD} has {short_repr(text)}. Fix it, or use objective.name=classify",
                record,
            )
    return _labelled.read_each(float, np.float32, texts)


def is_number(text: str) -> bool:
    """Whether a text is a number that float32 can hold, in ASCII digits as files have them.

    >>> [is_number(text) for text in ("3.8", "-1e3", "1_000", "nan", "1e39")]
    [True, True, False, False, False]
    """
    if not text.isascii() or "_" in text:
        return False
    try:
        return abs(float(text)) <= float(np.finfo(np.float32).max)
    except ValueError:
        return False


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """{"loss": (sum of squared errors, examples)}."""
    error = apply(params, batch, rng, train).heads[NAME][..., 0] - batch["label_values"]
    weights = batch["label_weights"]
    return {"loss": (jnp.sum(weights * error**2), jnp.sum(weights))}


def predict(apply: Any, params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{"numbers": float32 [B, E]}."""
    return {"numbers": apply(params, batch, jax.random.key(0), False).heads[NAME][..., 0]}


def report(predictions: Mapping[str, np.ndarray], examples: Any) -> list[dict[str, Any]]:
    """The number of each example."""
    del examples
    return [{"prediction": float(number)} for number in predictions["numbers"]]


def score(reports: list[dict[str, Any]], labels: list[str]) -> dict[str, float]:
    """pearson, spearman and mse."""
    predicted = np.array([one["prediction"] for one in reports])
    return score_numbers(np.array(labels, np.float32), predicted)
