"""Reward models: one number for each answer to a prompt, greater for the chosen than for the
rejected one.

The loss of a pair in nats is -log sigmoid(reward(chosen) - reward(rejected)), that of Bradley and
Terry (Stiennon et al. 2020, section 3.4; Ouyang et al. 2022, equation 1). It is the cross entropy
of a choice between the two rewards, so rows and heads are those of multiple_choice.py: each answer
is a sequence of its own, in the format of pairs, and has an entry on axis E.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from pretrain_jax.objectives import ExampleTask, Objective, _labelled, multiple_choice, prefer
from pretrain_jax.objectives._cut_texts import warn_of_preferences
from pretrain_jax.objectives._formats import Format, one_each, pick_format
from pretrain_jax.ragged import Fields

NAME = "reward"


def build(model: Any, *, dropout: float = 0.1, per_row: int = 0) -> Objective:
    """The objective of a reward model.

    dropout, per_row  see objectives/__init__.py

    A record has the columns of `data.fields` ("prompt", "chosen", "rejected").
    """
    format = pick_format(model)
    sizes = _labelled.Sizes(format, 2, per_row, sequences=2)

    def arrange(seq_len: int) -> dict[str, int]:
        room = sizes.room(seq_len)
        return {"inputs": room - room // 2, "targets": room // 2}

    def lengths(n: Any) -> dict[str, Any]:
        n = np.asarray(n)
        tokens = 2 * (n[..., 0] + format.specials(2)) + n[..., 1] + n[..., 2]
        return {**format.lengths(tokens), "E": 2}

    task = ExampleTask(
        read_labels=prefer.no_labels,
        predict=predict,
        report=report,
        score=score,
        metric="accuracy",
        texts=len(prefer.FIELDS),
        resolve=prefer.no_options,
        default_texts=prefer.FIELDS,
        implied_label=prefer.CHOSEN,
    )
    return Objective(
        **_labelled.task_arguments(format, task),
        **_labelled.head(NAME, model, 1, dropout),
        fields=(*format.fields(2), "example_at", "labels", "label_weights"),
        arrangement="preferences",
        arrange=arrange,
        lengths=lengths,
        budgets=sizes.budgets,
        corrupt=partial(corrupt, format=format),
        sequences=2,
        loss=multiple_choice.ChoiceLoss(2, NAME),
        data_warning=warn_of_preferences,
    )


def corrupt(examples: Fields, uniform: Any, vocab: Any, *, format: Format) -> Fields:
    """The fields of {"inputs", "targets": int32 texts}, two rows for each example
    (data/preferences.py). The first one is the right choice."""
    del uniform
    fields = format.write(examples["inputs"], examples["targets"], vocab)
    splits = fields["tokens"].splits
    is_first = np.arange(len(splits)) % 2 == 0
    return {
        **fields,
        "example_at": one_each(format.label_at(splits)),
        "labels": one_each(np.zeros(len(splits))),
        "label_weights": one_each(is_first, np.float32),
    }


def predict(apply: Any, params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{"rewards": float32 [B, E / 2, 2]}, of the chosen and the rejected answer."""
    output = apply(params, batch, jax.random.key(0), False)
    return {"rewards": prefer.pairs(output.heads[NAME][..., 0])}


def report(predictions: Mapping[str, np.ndarray], examples: Any) -> list[dict[str, Any]]:
    """The preferred answer of each example, and the rewards of both."""
    del examples
    return [
        {"prediction": prefer.preferred(rewards), "rewards": rewards.tolist()}
        for rewards in predictions["rewards"]
    ]


def score(reports: list[dict[str, Any]], labels: list[str]) -> dict[str, float]:
    """accuracy and margin (objectives/prefer.py)."""
    return prefer.score_rewards(reports, labels)
