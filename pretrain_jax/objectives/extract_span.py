"""Extracting an answer: the first and the last token of the answer to a question, in a context.

The published recipe for finetuning on SQuAD (Rajpurkar et al. 2016, 2018): BERT (Devlin et al.
2019, sections 4.2 and 4.3; google-research/bert run_squad.py). An example is a window of a context
(data/windows.py) after its question; a window without the answer has [CLS] as its target. The loss
is the mean of two cross entropies, of the first and of the last token of the answer, each among the
tokens of the window.

The answer to a question is the span of context tokens with the greatest sum of two logits, over all
windows of the record. Its first token counts in the window where it has the most context.

Question 10, context 20 21 22, answer 21 22 for a BERT, [CLS] = 5, [SEP] = 6:

    tokens         5 10  6 20 21 22  6
    segments       1  1  1  1  1  1  1
    types          0  0  0  1  1  1  1
    start_at       4
    end_at         5
    label_weights  1
"""

import json
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, registry
from pretrain_jax.errors import BadLabel, ConfigError
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.heads import TokenClassifier
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.objectives import ExampleTask, Objective, _answers
from pretrain_jax.objectives._formats import Format, one_each, pick_format
from pretrain_jax.objectives._labelled import Sizes, task_arguments
from pretrain_jax.ragged import Fields, Ragged
from pretrain_jax.registry import Range
from pretrain_jax.scores.answers import best_no_answer_threshold, score_answers

NAME = "extract_span"
METRICS = ("f1", "exact_match")
ENDS = ("start_at", "end_at")


def build(
    model: Any,
    *,
    question_length: int = 64,
    stride: int = 128,
    longest: int = 30,
    unanswerable: bool = False,
    threshold: Annotated[float, Range(-1e6, 1e6)] = 0.0,
    metric: str = "f1",
    per_row: int = 0,
) -> Objective:
    """The objective of extracting answers.

    per_row          see objectives/__init__.py
    question_length  most tokens of a question; its end is cut off
    stride           tokens by which the windows of a context advance
    longest          most tokens of a predicted answer
    unanswerable     whether a question may have no answer, as in SQuAD 2.0
    threshold        with unanswerable: the prediction is "no answer" if the sum of the logits at
                     [CLS] exceeds that of the best answer by more than this
    metric           f1 or exact_match (scores/answers.py)
    """
    registry.check_name(metric, METRICS, "objective.metric")
    format = pick_format(model)
    if format.memory or format.attention != "full":
        raise ConfigError(
            "objective.name=extract_span needs an encoder, in which every token of the context "
            f"sees all others; model.name={model.name} is not one. Use bert, roberta, electra or "
            "t5_encoder, or objective.name=text_to_text"
        )
    sizes = Sizes(format, 2, per_row)
    read = partial(read_spans, unanswerable=unanswerable)
    before = len(format.before) + len(format.between)
    search = _answers.Search(before, longest, threshold if unanswerable else None)
    task = ExampleTask(
        read_labels=read,
        predict=predict,
        report=search.report,
        score=partial(score, unanswerable=unanswerable),
        metric=metric,
        axis="L",
        texts=2,
        default_texts=("question", "context"),
        default_label="answers",
        places="answers",
        parse_label=json.loads,
    )
    head = factory(TokenClassifier, classes=2, kernel_init=TruncatedNormal(0.02), everywhere=True)
    return Objective(
        **task_arguments(format, task),
        fields=(*format.fields(2), *ENDS, "label_weights"),
        arrangement="windows",
        arrange=lambda seq_len: {
            "tokens": check_room(sizes.room(seq_len), question_length, seq_len),
            "question_length": question_length,
            "stride": stride,
            "read_labels": read,
        },
        lengths=sizes.lengths,
        budgets=sizes.budgets,
        corrupt=partial(corrupt, format=format),
        heads=((NAME, head),),
        loss=span_loss,
        data_warning=data_warning,
    )


def check_room(room: int, question_length: int, seq_len: int) -> int:
    """The tokens of a window, if they are more than those of a question; raises ConfigError."""
    if room <= question_length:
        raise ConfigError(
            "data.seq_len must have room for the question, its special tokens and one token of the "
            f"context; received data.seq_len={seq_len} with objective.question_length="
            f"{question_length}. Use data.seq_len={seq_len + question_length + 1 - room} or more, "
            "or shorter questions"
        )
    return room


def read_spans(texts: list[str | None], unanswerable: bool) -> Ragged:
    """int64, for each record: the characters of its first answer, (-1, -1) without an answer, and
    an empty row for None. Raises DataError."""
    rows: list[tuple[int, ...]] = []
    for record, text in enumerate(texts):
        answers = text and json.loads(text)
        if not answers:
            rows.append(())
        elif answers["text"]:
            start = answers["answer_start"][0]
            rows.append((start, start + len(answers["text"][0])))
        elif unanswerable:
            rows.append((-1, -1))
        else:
            raise BadLabel(
                f"every question must have an answer; {BadLabel.RECORD} has none. Set "
                "objective.unanswerable=True, as for SQuAD 2.0, or fix the record",
                record,
            )
    return Ragged.concatenate(rows, np.int64)


def corrupt(examples: Fields, uniform: Any, vocab: Any, *, format: Format) -> Fields:
    """Raw examples (data/windows.py) -> the fields of the format and the answers. Nothing is
    drawn."""
    del uniform
    first = examples["first"]
    fields = {**format.write(first, examples["second"], vocab)}
    context = first.splits.sizes + len(format.before) + len(format.between)
    no_answer = format.label_at(fields["tokens"].splits)
    fields["label_weights"] = examples["known"]
    for name, key in zip(ENDS, ("start", "end"), strict=True):
        at = examples[key].values
        fields[name] = one_each(np.where(at < 0, no_answer, at + context))
    return fields


def data_warning(examples: Any, vocab: Any) -> str:
    """Says how many answers no window has; see Objective."""
    del vocab
    if not examples.lost:
        return ""
    return (
        f"{examples.lost} of {len(examples.cache)} records are left out of training: no window has "
        "their answer. The tokenizer makes nothing of it, or it is longer than a window"
    )


def span_loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """{"loss": (sum over the windows with a label of the mean of both cross entropies in nats,
    their number)}; each is over the tokens of the window alone."""
    logits = apply(params, batch, rng, train).heads[NAME]
    segments, weights = batch["segments"], batch["label_weights"]
    of_example = jnp.take_along_axis(segments, batch["start_at"], axis=1)
    own = segments[:, None] == of_example[..., None]  # [B, E, L]
    nll = sum(token_nll(logits[..., end], own, batch[name]) for end, name in enumerate(ENDS))
    return {"loss": (jnp.sum(weights * nll) / 2, jnp.sum(weights))}


def token_nll(logits: jax.Array, own: jax.Array, at: jax.Array) -> jax.Array:
    """float32 [B, E]: nats of token `at` [B, E] among the tokens `own`, bool [B, E, L], from logits
    [B, L]."""
    total = jax.nn.logsumexp(jnp.where(own, logits[:, None], -jnp.inf), axis=-1)
    return total - jnp.take_along_axis(logits, at, axis=1)


def predict(apply: Any, params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{"logits": float32 [B, L, 2]}, of the first and of the last token of the answer."""
    return {"logits": apply(params, batch, jax.random.key(0), False).heads[NAME]}


def score(reports: list[dict[str, Any]], labels: list[str], unanswerable: bool) -> dict[str, float]:
    """The scores of SQuAD in percent (scores/answers.py).

    With unanswerable questions also the best threshold, and the scores with it: best_threshold,
    best_exact_match and best_f1.
    """
    answers = [json.loads(label)["text"] or [""] for label in labels]
    scores = score_answers(answers, [one["prediction"] for one in reports])
    if not unanswerable:
        return scores
    best = best_no_answer_threshold(
        answers, [one["answer"] for one in reports], [one["no_answer_score"] for one in reports]
    )
    names = ("best_threshold", "best_exact_match", "best_f1")
    return scores | dict(zip(names, best, strict=True))
