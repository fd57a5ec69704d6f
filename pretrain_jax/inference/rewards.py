"""The rewards of answers, from a model trained with objective reward."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference.arguments import check_counts, check_texts
from pretrain_jax.inference.decoding import Decoder, divide, to_rows
from pretrain_jax.inference.generation import Generator, Prompt
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives.reward import NAME
from pretrain_jax.ragged import Ragged
from pretrain_jax.tokenizers import Tokenizer

if TYPE_CHECKING:
    from pretrain_jax.inference.trained_model import TrainedModel

AT = "example_at"
"""The field with the position in each row from which its reward is predicted."""


def score_answers(
    model: "TrainedModel", prompts: Sequence[str], answers: Sequence[str], batch_size: int
) -> np.ndarray:
    """See `TrainedModel.rewards`."""
    if model.design.spec.objective.name != NAME:
        raise ConfigError(
            "rewards need a model that was trained with objective.name=reward; this one is "
            f"{model.family}"
        )
    check_texts(prompts, "prompts")
    check_texts(answers, "answers")
    check_counts(batch_size=batch_size)
    if len(prompts) != len(answers):
        raise ConfigError(
            f"rewards need one answer for each prompt; received {len(prompts)} prompts and "
            f"{len(answers)} answers"
        )
    if not prompts:
        return np.zeros(0, np.float32)
    rows = make_rows(prompts, answers, model.objective, model.tokenizer)
    model.check_lengths(len(row["tokens"]) for row in rows)
    return predict(model.generator, rows, batch_size)


def make_rows(
    prompts: Sequence[str], answers: Sequence[str], objective: Objective, tokenizer: Tokenizer
) -> list[Prompt]:
    """The fields of a row for each prompt with its answer."""
    inputs, targets = (
        Ragged.concatenate(map(tokenizer.encode, texts)) for texts in (prompts, answers)
    )
    fields = objective.corrupt({"inputs": inputs, "targets": targets}, None, tokenizer)
    kinds = (Kind.STREAM, Kind.MEMORY)
    names = [name for name in fields if name == AT or FIELDS[name].kind in kinds]
    rows = zip(*(fields[name].split() for name in names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def predict(generator: Generator, rows: Sequence[Prompt], batch_size: int) -> np.ndarray:
    """float32 [N]: the rewards of rows."""
    size, parts = divide(len(rows), batch_size, generator.ways)
    made = [np.zeros(0, np.float32)]
    for part in parts:
        chosen = rows[part]
        texts = [{name: row[name] for name in row if name != AT} for row in chosen]
        batch = to_rows(texts, size, generator.context)
        at = [row[AT] for row in chosen]
        batch[AT] = np.stack([*at, *[at[-1]] * (size - len(at))])
        values = read_head(generator.params, batch, decoder=generator.decoder)
        made.append(generator.to_host(values)[: len(chosen)])
    return np.concatenate(made)


@partial(jax.jit, static_argnames="decoder")
def read_head(params: Any, batch: Any, *, decoder: Decoder) -> jax.Array:
    """float32 [B]: the head of the rows of a batch."""
    output, _ = decoder.apply_cached(params, batch, {}, ())
    return output.heads[NAME][:, 0, 0]
