"""Multiple choice: which of several texts continues or answers a first one.

Each choice is a sequence of its own after the first text; a shared head gives each one number, and
a softmax over the numbers of an example gives the probabilities (GPT-1: Radford et al. 2018, figure
1; BERT: Devlin et al. 2019, section 4.4). With the record "a b" and the choices "c" (right) and "d"
for a GPT, [START] = 1, [DELIM] = 3, [EXTRACT] = 4, a = 10 .. d = 13:

    tokens          1 10 11  3 12  4  1 10 11  3 13  4
    segments        1  1  1  1  1  1  2  2  2  2  2  2
    example_at      5 11
    labels          0  0       the number of the right choice, in the first entry
    label_weights   1  0
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses
from pretrain_jax.errors import BadLabel, short_repr
from pretrain_jax.objectives import ExampleTask, Objective, _labelled
from pretrain_jax.objectives._cut_texts import warn_of_cut_texts
from pretrain_jax.objectives._formats import Format, one_each, pick_format
from pretrain_jax.ragged import Fields, Ragged
from pretrain_jax.scores.classification import score_classes

NAME = "multiple_choice"
FIELDS = ("query", "choices")


def build(model: Any, *, choices: int = 0, dropout: float = 0.1, per_row: int = 0) -> Objective:
    """The objective of multiple choice.

    choices           most choices of a record; 0 = as many as the training records have. A run
                      stores it
    dropout, per_row  see objectives/__init__.py

    A record has its first text and its choices in `data.fields` ("query", "choices"): a column of
    strings each, or a list of strings for several. Its label is the number of the right choice,
    from 0. A row has the sequences of an example side by side, each of up to seq_len / choices
    tokens.
    """
    format, most = pick_format(model), choices or 2
    task = ExampleTask(
        read_labels=partial(read_numbers, choices=most),
        predict=partial(predict, choices=most),
        report=report,
        score=partial(score, choices=most),
        metric="accuracy",
        texts=choices and 1 + choices,
        fewer=True,
        resolve=lambda texts: {"choices": texts - 1},
        default_texts=FIELDS,
    )
    sizes = _labelled.Sizes(format, 2, per_row, sequences=most)

    def lengths(n: Any) -> dict[str, Any]:
        n = np.asarray(n)
        tokens = n[..., 0] + format.specials(2) * n[..., 1]
        return {**format.lengths(tokens), "E": most}

    return Objective(
        **_labelled.task_arguments(format, task),
        **_labelled.head(NAME, model, 1, dropout),
        fields=(*format.fields(2), "example_at", "labels", "label_weights"),
        arrangement="choices",
        arrange=lambda seq_len: {
            "tokens": sizes.room(seq_len),
            "choices": most,
            "read_labels": task.read_labels,
        },
        lengths=lengths,
        budgets=sizes.budgets,
        corrupt=partial(corrupt, format=format, choices=most),
        sequences=most,
        loss=ChoiceLoss(most),
        data_warning=warn_of_cut_texts,
    )


def read_numbers(texts: list[str | None], choices: int) -> Ragged:
    """The number of each record's right choice, int32. Raises DataError."""
    for record, text in enumerate(texts):
        if text is not None and text not in map(str, range(choices)):
            raise BadLabel(
                f"every label must be the number of the right choice, 0 .. {choices - 1}; "
                f"{BadLabel.RECORD} has {short_repr(text)}. Fix it, or name the column with "
                "data.label_key",
                record,
            )
    return _labelled.read_each(int, np.int32, texts)


def corrupt(examples: Fields, uniform: Any, vocab: Any, *, format: Format, choices: int) -> Fields:
    """{"first", "second": one row for each choice, "labels": one number or none each example} ->
    the fields of the format, and those of labels. A missing choice is an empty sequence."""
    del uniform
    present = examples["second"].splits.sizes > 0
    fields = format.write(examples["first"], examples["second"], vocab)
    fields = {name: drop_rows(values, present) for name, values in fields.items()}
    at = np.maximum(format.label_at(fields["tokens"].splits), 0)
    labels = _labelled.label_fields(examples["labels"], "labels", choices)
    return {**fields, "example_at": one_each(at), **labels}


def drop_rows(rows: Ragged, keep: np.ndarray) -> Ragged:
    """The rows, empty where `keep`, bool [E], is false.

    >>> drop_rows(Ragged.concatenate([[5, 6], [7]]), np.array([True, False])).splits.sizes
    array([2, 0])
    """
    return rows.boolean_mask(rows.splits.broadcast(keep))


def choice_logits(
    output: Any, batch: dict[str, jax.Array], choices: int, head: str = NAME
) -> jax.Array:
    """float32 [B, E / choices, choices]; -inf for a choice that an example does not have.

    Every sequence has a segment of its own: the entries of a row without tokens are missing ones.
    """
    numbers = output.heads[head][..., 0]
    rows, entries = numbers.shape
    segments = jnp.arange(1, entries + 1)
    present = (batch["segments"][:, None, :] == segments[:, None]).any(-1)
    # An entry without an example has no sequence at all; a softmax needs one number.
    first = jnp.arange(entries) % choices == 0
    logits = jnp.where(present | first, numbers, -jnp.inf)
    return logits.reshape(rows, -1, choices)


@dataclass(frozen=True)
class ChoiceLoss:
    """The cross entropy of the right choice."""

    choices: int
    head: str = NAME

    def __call__(
        self, apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
    ) -> losses.Sums:
        """{"loss": (sum of nats, examples)}; see Objective.loss."""
        output = apply(params, batch, rng, train)
        logits = choice_logits(output, batch, self.choices, self.head)
        labels = batch["labels"][:, :: self.choices]
        weights = batch["label_weights"][:, :: self.choices]
        nll = losses.class_nll(logits, labels)
        # An example that is not there has no right choice: its nats may be infinite.
        return {"loss": (jnp.sum(jnp.where(weights > 0, nll, 0.0)), jnp.sum(weights))}


def predict(
    apply: Any, params: Any, batch: dict[str, jax.Array], choices: int
) -> dict[str, jax.Array]:
    """{"probabilities": float32 [B, E / choices, choices]}."""
    output = apply(params, batch, jax.random.key(0), False)
    return {"probabilities": jax.nn.softmax(choice_logits(output, batch, choices))}


def report(predictions: Mapping[str, np.ndarray], examples: Any) -> list[dict[str, Any]]:
    """The number of the likeliest choice of each example, and the probability of each choice."""
    counts = examples.length[:, 1].tolist()
    return [
        {"prediction": str(int(row.argmax())), "probabilities": row[:count].tolist()}
        for row, count in zip(predictions["probabilities"], counts, strict=True)
    ]


def score(reports: list[dict[str, Any]], labels: list[str], choices: int) -> dict[str, float]:
    """accuracy."""
    predicted = np.array([int(one["prediction"]) for one in reports])
    scores = score_classes(np.array([int(label) for label in labels]), predicted, choices)
    return {"accuracy": scores["accuracy"]}
