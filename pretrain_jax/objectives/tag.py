"""Tagging: a tag for each word of a text, such as a named entity or a part of speech.

The published recipe for finetuning encoders: BERT (Devlin et al. 2019, section 5.3). The text is
the words with one space between each, in the format of the architecture (objectives/_formats.py).
The tag of a word is predicted from its first token, or from its last in a causal stream, which has
read the whole word only there. A word without that token in the row, because the text is too long
or the tokenizer makes nothing of the word, is scored as the tag `fallback`.

The words "Anna sings" with the tags B-PER and O for a BERT, Anna = 10 ##a = 11 and sings = 12,
[CLS] = 5, [SEP] = 6; the classes are B-PER = 0 and O = 1:

    tokens      5 10 11 12  6
    predict_at  1  3
    targets     0  1
    weights     1  1
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, registry
from pretrain_jax.errors import BadLabel, ConfigError, short_repr
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.heads import TokenClassifier
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.objectives import ExampleTask, Objective
from pretrain_jax.objectives._cut_texts import warn_of_cut_texts
from pretrain_jax.objectives._formats import Format, pick_format
from pretrain_jax.objectives._labelled import Sizes, task_arguments
from pretrain_jax.ragged import Fields, Ragged
from pretrain_jax.scores.tags import score_tags

NAME = "tag"
METRICS = ("f1", "accuracy")
ENTITIES = ("B-", "I-")
"""How the tags of entities begin; tags without them have no f1."""


def build(
    model: Any,
    *,
    labels: tuple[str, ...] = (),
    fallback: str = "",
    metric: str = "",
    dropout: float = 0.1,
    per_row: int = 0,
) -> Objective:
    """The objective of tagging.

    labels, dropout, per_row   see objectives/__init__.py
    fallback   tag of a word that the model does not read; empty = "O", or, if no tag is "O", the
               commonest one of the training records. A run stores it
    metric     f1 (of entities, as conlleval counts them) or accuracy (of words); empty = f1 if
               there are tags B-... or I-..., otherwise accuracy
    """
    metric = check_tags(labels, fallback, metric)
    format = pick_format(model)
    if format.memory:
        raise ConfigError(
            "objective.name=tag needs a model with one stack, in which each word is a part of the "
            f"stream; model.name={model.name} has two. Use an encoder, such as t5_encoder, a "
            "decoder, or objective.name=text_to_text"
        )
    sizes = Sizes(format, 1, per_row)
    read = partial(read_tags, classes=labels)
    task = ExampleTask(
        read_labels=read,
        predict=predict,
        report=partial(report, classes=labels, fallback=fallback),
        score=score,
        metric=metric,
        axis="P",
        texts=1,
        default_texts=("tokens",),
        default_label="tags",
        places="words",
        parse_label=json.loads,
        labels=labels,
    )
    head = factory(
        TokenClassifier, classes=len(labels), kernel_init=TruncatedNormal(0.02), dropout=dropout
    )
    return Objective(
        **task_arguments(format, task),
        fields=(*format.fields(1), "predict_at", "targets", "weights"),
        arrangement="words",
        arrange=lambda seq_len: {
            "tokens": sizes.room(seq_len),
            "last": format.is_causal,
            "read_labels": read,
        },
        lengths=lambda n: {**sizes.lengths(np.asarray(n)[..., :1]), "P": np.asarray(n)[..., 1]},
        budgets=lambda seq_len: {**sizes.budgets(seq_len), "P": seq_len},
        corrupt=partial(corrupt, format=format),
        heads=((NAME, head),),
        loss=tag_loss,
        data_warning=warn_of_cut_texts,
    )


def check_tags(labels: Sequence[str], fallback: str, metric: str) -> str:
    """The metric; raises ConfigError for a metric or a fallback that the tags do not have.

    >>> check_tags(("NOUN", "VERB"), "NOUN", "")
    'accuracy'
    """
    has_entities = not labels or any(label.startswith(ENTITIES) for label in labels)
    metric = metric or METRICS[not has_entities]
    registry.check_name(metric, METRICS, "objective.metric")
    if metric == "f1" and not has_entities:
        raise ConfigError(
            "objective.metric=f1 is for entities, whose tags begin with B- and I-; the tags are "
            f"{short_repr(list(labels))}. Use objective.metric=accuracy"
        )
    if fallback and labels:
        registry.check_name(fallback, labels, "objective.fallback")
    return metric


def read_tags(texts: list[str | None], classes: tuple[str, ...]) -> Ragged:
    """The numbers of the tags of each record, int32; an empty row for None. Raises DataError."""
    number = {name: at for at, name in enumerate(classes)}
    rows: list[list[int]] = []
    for record, text in enumerate(texts):
        tags = [] if text is None else json.loads(text)
        if unknown := [tag for tag in tags if tag not in number]:
            raise BadLabel(
                f"every tag must be one of the tags of this run, {', '.join(classes)}; "
                f"{BadLabel.RECORD} has {short_repr(unknown[0])}. Fix it, or name all tags, also "
                "those of validation records alone, with objective.labels in a new run",
                record,
            )
        rows.append([number[tag] for tag in tags])
    return Ragged.concatenate(rows)


def corrupt(examples: Fields, uniform: Any, vocab: Any, *, format: Format) -> Fields:
    """Raw examples (data/words.py) -> the fields of the format and the tags. Nothing is drawn."""
    del uniform
    offset, splits = examples["offset"]
    return {
        **format.write(examples["tokens"], None, vocab),
        "predict_at": Ragged(offset + len(format.before), splits),
        "targets": examples["tag"],
        "weights": examples["known"],
    }


def tag_loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """{"loss": (sum of the cross entropies of the words with tags in nats, their number)}."""
    logits = apply(params, batch, rng, train).heads[NAME]
    weights = batch["weights"]
    nll = losses.class_nll(logits, batch["targets"])
    return {"loss": (jnp.sum(weights * nll), jnp.sum(weights))}


def predict(apply: Any, params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{"tags": int32 [B, P]}, the likeliest tag of each word."""
    logits = apply(params, batch, jax.random.key(0), False).heads[NAME]
    return {"tags": jnp.argmax(logits, axis=-1).astype(jnp.int32)}


def report(
    predictions: Mapping[str, Sequence[np.ndarray]],
    examples: Any,
    classes: tuple[str, ...],
    fallback: str,
) -> list[dict[str, Any]]:
    """The tag of every word of each record; `examples` are Words."""
    reports = []
    for k, (words, identity) in enumerate(
        zip(examples.cache.texts, examples.cache.ids, strict=True)
    ):
        tags = [fallback] * len(words)
        for word, tag in zip(examples.words(k), predictions["tags"][k], strict=True):
            tags[word] = classes[tag]
        named = {} if identity is None else {"id": identity}
        reports.append({**named, "words": words, "prediction": tags})
    return reports


def score(reports: list[dict[str, Any]], labels: list[str]) -> dict[str, float]:
    """accuracy; and f1, precision and recall of entities where there are any (scores/tags.py)."""
    wanted = [json.loads(label) for label in labels]
    return score_tags(wanted, [one["prediction"] for one in reports])
