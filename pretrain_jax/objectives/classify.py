"""Classification: one of several classes for each text or pair of texts.

The published recipes for finetuning: BERT (Devlin et al. 2019, section 4.1), RoBERTa, ELECTRA,
GPT-1 (Radford et al. 2018, section 3.2). The stream of an example has the format of the
architecture (objectives/_formats.py); the head is its pooler, if it has one, and a map to the
classes (layers/heads.py). Rows are packed with several examples.

The records "good" with label "yes" and "bad" with label "no" for a BERT, good = 10, bad = 11,
[CLS] = 5, [SEP] = 6, in one row; the classes are no = 0 and yes = 1:

    tokens          5 10  6  5 11  6
    segments        1  1  1  2  2  2
    example_at      0  3
    labels          1  0
    label_weights   1  1
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, registry
from pretrain_jax.errors import BadLabel, ConfigError, short_repr
from pretrain_jax.objectives import ExampleTask, Objective, _labelled
from pretrain_jax.objectives._formats import pick_format
from pretrain_jax.ragged import Ragged
from pretrain_jax.scores.classification import score_classes

NAME = "classify"
METRICS = ("accuracy", "f1", "matthews")


def build(
    model: Any,
    *,
    labels: tuple[str, ...] = (),
    texts: int = 0,
    metric: str = "accuracy",
    dropout: float = 0.1,
    smoothing: float = 0.0,
    class_weights: tuple[float, ...] = (),
    symmetric: bool = False,
    lm_weight: float = 0.0,
    per_row: int = 0,
) -> Objective:
    """The objective of text classification.

    labels, texts, metric, dropout, per_row   see objectives/__init__.py. metric: accuracy, f1 (of
                    the second of two classes; of more, the mean over classes) or matthews
    smoothing       share of the probability that is spread over all classes (Szegedy et al. 2016)
    class_weights   weight of the examples of each class, in the order of `labels`; () = equal
    symmetric       whether a pair is read in both orders and the hidden states are added, as GPT-1
                    does for similarity
    lm_weight       weight of the loss of a causal language model over all tokens of the examples;
                    0.5 in GPT-1, which averages it over examples, where we average over tokens
    """
    registry.check_name(metric, METRICS, "objective.metric")
    check_weights(class_weights, labels)
    task = ExampleTask(
        read_labels=partial(read_classes, classes=labels),
        predict=predict,
        report=partial(report, classes=labels),
        score=partial(score, classes=labels),
        metric=metric,
        texts=texts,
        labels=labels,
    )
    return Objective(
        **_labelled.objective_arguments(
            pick_format(model),
            texts,
            per_row,
            task,
            symmetric=symmetric,
            predicts_tokens=lm_weight > 0,
        ),
        **_labelled.head(NAME, model, len(labels), dropout, sequences=2 if symmetric else 1),
        loss=ClassLoss(smoothing, class_weights, lm_weight > 0),
        coefficients={"loss": 1.0, **({"lm": lm_weight} if lm_weight else {})},
    )


def check_weights(weights: Sequence[float], labels: Sequence[str]) -> None:
    """Raises ConfigError unless there is one positive weight for each class, or none at all."""
    fits = not labels or len(weights) == len(labels)
    if weights and not (fits and all(0 < weight < float("inf") for weight in weights)):
        raise ConfigError(
            "objective.class_weights must hold one positive number per class, in the order of "
            f"objective.labels; received {short_repr(weights)} for the classes "
            f"{', '.join(labels) or 'of the source'}"
        )


def read_classes(texts: list[str | None], classes: tuple[str, ...]) -> Ragged:
    """The number of each label's class, int32. Raises BadLabel for a label without a class."""
    number = {name: at for at, name in enumerate(classes)}
    for record, text in enumerate(texts):
        if text is not None and text not in number:
            raise BadLabel(
                f"every label must be one of the classes of this run, {', '.join(classes)}; "
                f"{BadLabel.RECORD} has {short_repr(text)}. Fix it, or name all classes, also "
                "those of validation records alone, with objective.labels in a new run",
                record,
            )
    return _labelled.read_each(number.__getitem__, np.int32, texts)


@dataclass(frozen=True)
class ClassLoss:
    """The cross entropy of labels, as torch's CrossEntropyLoss(weight, label_smoothing) defines it:
    divided by the sum of the weights of the labels. For a batch of one example,

    (1 - s) nll(label) + s mean over classes of weight(c) nll(c) / weight(label).
    """

    smoothing: float = 0.0
    weights: tuple[float, ...] = ()
    predicts_tokens: bool = False
    """Whether a term "lm" has the nats of the next tokens."""

    def __call__(
        self, apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
    ) -> losses.Sums:
        """{"loss": (sum, weight)} in nats, and "lm" likewise; see Objective.loss."""
        output = apply(params, batch, rng, train)
        logits = output.heads[NAME]
        every = batch["labels"].shape[1] // logits.shape[1]  # entries of an example
        labels, known = batch["labels"][:, ::every], batch["label_weights"][:, ::every]
        by_class = jnp.asarray(self.weights or (1.0,) * logits.shape[-1], jnp.float32)
        weight = known * by_class[labels]
        loss = (1 - self.smoothing) * jnp.sum(weight * losses.class_nll(logits, labels))
        if self.smoothing:
            nll = -jax.nn.log_softmax(logits)
            loss += self.smoothing * jnp.sum(known * jnp.mean(nll * by_class, axis=-1))
        lm = {"lm": losses.token_terms(output, batch)["loss"]} if self.predicts_tokens else {}
        return {"loss": (loss, jnp.sum(weight)), **lm}


def predict(apply: Any, params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{"probabilities": float32 [B, E, classes]}."""
    logits = apply(params, batch, jax.random.key(0), False).heads[NAME]
    return {"probabilities": jax.nn.softmax(logits)}


def report(
    predictions: Mapping[str, np.ndarray], examples: Any, classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The likeliest class of each example, and the probability of each class."""
    del examples
    return [
        {
            "prediction": classes[int(row.argmax())],
            "probabilities": dict(zip(classes, map(float, row), strict=True)),
        }
        for row in predictions["probabilities"]
    ]


def score(
    reports: list[dict[str, Any]], labels: list[str], classes: tuple[str, ...]
) -> dict[str, float]:
    """accuracy, f1 and matthews."""
    number = {name: at for at, name in enumerate(classes)}
    wanted = np.array([number[label] for label in labels])
    predicted = np.array([number[one["prediction"]] for one in reports])
    return score_classes(wanted, predicted, len(classes))
