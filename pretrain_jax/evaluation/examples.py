"""Evaluation of an objective with labels: every validation example once, with its own metrics."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data import pipeline
from pretrain_jax.ragged import Ragged

Reports = list[dict[str, Any]]
PREDICTIONS = "predictions.jsonl"


def evaluate(
    design: Design, feed: Feed, params: Any, function: Any
) -> tuple[dict[str, float | None], Reports]:
    """(metrics, what the model says of each example, in the order of the source).

    Keys: `valid/objective` (what training minimizes) and the objective's other terms, the metrics
    of the task (`valid/accuracy`, ...), `valid/items` (examples with a label) and
    `yardstick/majority`, the accuracy of always answering the commonest label of training.

    function: `step.predict_step` of (params, batch).
    """
    terms, predictions = predict(design, feed, params, function)
    task = design.task.objective.example_task
    assert task is not None
    records = feed.stream("valid", design.spec.phases.eval_seq_len).members[0].examples
    labels = feed.cache(feed.sources[0], "valid").labels
    reports = task.report(predictions, records)
    pairs = zip(reports, labels, strict=True)
    known = [(report, label) for report, label in pairs if label is not None]
    scores = task.score([one for one, _ in known], [label for _, label in known]) if known else {}
    coefficients = design.update.program.coefficients
    values: dict[str, float | None] = {
        "valid/objective": sum(c * terms.get(term, 0.0) for term, c in coefficients.items()),
        **{f"valid/{term}": mean for term, mean in terms.items() if term != "loss"},
        **{f"valid/{name}": value for name, value in scores.items()},
        "valid/items": float(len(known)),
    }
    if task.labels and known:
        common = majority(feed)
        values["yardstick/majority"] = sum(label == common for _, label in known) / len(known)
    return values, add_labels(reports, labels)


def predict(
    design: Design, feed: Feed, params: Any, function: Any
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """(the mean of each term, predictions [N, ...] by name), from one pass over all examples."""
    sums: dict[str, list[float]] = {}
    size, placed = feed.eval_batch_size, design.placement.rows
    parts: list[dict[str, np.ndarray]] = []
    numbers: list[np.ndarray] = []
    batches = feed.eval_batches(placed.local_rows(size))
    for rows, examples in zip(batches, example_numbers(feed), strict=True):
        terms, made = function(params, placed.to_global(rows, size))
        for term, pair in jax.device_get(terms).items():
            total = sums.setdefault(term, [0.0, 0.0])
            for index, number in enumerate(pair):
                total[index] += float(number)
        row, at = examples.splits.row_ids, examples.splits.offsets
        parts.append({name: on_host(x)[row, at] for name, x in made.items()})
        numbers.append(examples.values)
    order = np.argsort(np.concatenate(numbers))
    predictions = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    return {term: total / weight for term, (total, weight) in sums.items() if weight}, predictions


def example_numbers(feed: Feed) -> Iterator[Ragged]:
    """The numbers of the validation examples in the rows of each batch of `feed.eval_batches`."""
    stream = feed.stream("valid", feed.design.spec.phases.eval_seq_len)
    for first in range(0, feed.eval_rows, feed.eval_batch_size):
        rows = range(first, min(first + feed.eval_batch_size, feed.eval_rows))
        yield stream.examples_of(rows, pipeline.EVAL_SEED)


def on_host(x: jax.Array) -> np.ndarray:
    """The complete array, in every process."""
    if x.is_fully_addressable:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def majority(feed: Feed) -> str | None:
    """The commonest label of the training examples, of those that are equally common the first;
    None without training examples."""
    if "train" not in feed.splits:
        return None
    labels = feed.cache(feed.sources[0], "train").labels
    return Counter(sorted(label for label in labels if label is not None)).most_common(1)[0][0]


def add_labels(reports: Reports, labels: list[str | None]) -> Reports:
    """The reports with their numbers, and with their labels where these are known."""
    return [
        {"number": number, **({} if label is None else {"label": label}), **report}
        for number, (report, label) in enumerate(zip(reports, labels, strict=True))
    ]


def to_lines(reports: Reports) -> str:
    """The content of predictions.jsonl: one JSON object per example."""
    return "".join(json.dumps(report, ensure_ascii=False) + "\n" for report in reports)


def format_summary(step: int, values: dict[str, float | None]) -> str:
    """One line for the terminal:

    step 100: objective 0.4310, accuracy 0.812, f1 0.805 on 872 examples (majority 0.509)
    """
    named = [(key.partition("/"), value) for key, value in values.items() if value is not None]
    shown = ", ".join(
        f"{name.replace('_', ' ')} {value:.{4 if name == 'objective' else 3}f}"
        for (half, _, name), value in named
        if half == "valid" and name != "items"
    )
    yardsticks = [f"{name} {value:.3f}" for (half, _, name), value in named if half == "yardstick"]
    beside = f" ({', '.join(yardsticks)})" if yardsticks else ""
    return f"step {step}: {shown} on {values['valid/items']:.0f} examples{beside}"
