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
from pretrain_jax.data.pack import starts_in_rows
from pretrain_jax.objectives import ExampleTask
from pretrain_jax.ragged import Ragged, RowSplits

Reports = list[dict[str, Any]]
PREDICTIONS = "predictions.jsonl"


def evaluate(
    design: Design, feed: Feed, params: Any, function: Any, common: str | None
) -> tuple[dict[str, float | None], Reports]:
    """(metrics, what the model says of each example, in the order of the source).

    Keys: `valid/objective` (what training minimizes) and the objective's other terms, the metrics
    of the task (`valid/accuracy`, ...), `valid/items` (examples with a label) and
    `yardstick/majority`, the accuracy of always answering the commonest class of training.

    function: `step.predict_step` of (params, batch). common: the result of `majority`.
    """
    records = validation_records(feed)
    terms, predictions = predict(design, feed, params, function)
    task = design.task.objective.example_task
    assert task is not None
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
    if known and common is not None:
        counts = Counter(name for _, label in known for name in task.classes(label))
        values["yardstick/majority"] = counts[common] / counts.total()
    return values, add_labels(reports, labels, task)


def predict(
    design: Design, feed: Feed, params: Any, function: Any, stream: pipeline.Stream | None = None
) -> tuple[dict[str, float], dict[str, Any]]:
    """(the mean of each term, the predictions that `ExampleTask.report` takes), from one pass over
    all examples of a stream; None = those of validation."""
    sums: dict[str, list[float]] = {}
    size, placed, objective = feed.eval_batch_size, design.placement.rows, design.task.objective
    assert objective.example_task is not None
    stream = stream or feed.stream("valid", design.spec.phases.eval_seq_len)
    axis, records = objective.example_task.axis, stream.members[0].examples
    # On the axis E, examples have one prediction each, whatever the number of their sequences.
    lengths = 1 if axis == "E" else objective.lengths(records.length)[axis]
    sizes = np.broadcast_to(lengths, len(records))
    parts: list[dict[str, np.ndarray]] = []
    numbers: list[np.ndarray] = []
    batches = pipeline.eval_batches(
        stream, rows=len(stream), batch_size=size, here=placed.local_rows(size)
    )
    for rows, examples in zip(batches, example_numbers(stream, size), strict=True):
        terms, made = function(params, placed.to_global(rows, size))
        for term, pair in jax.device_get(terms).items():
            total = sums.setdefault(term, [0.0, 0.0])
            for index, number in enumerate(pair):
                total[index] += float(number)
        each = RowSplits(sizes[examples.values])
        row = each.broadcast(examples.splits.row_ids)
        at = each.broadcast(starts_in_rows(each, examples.splits)) + each.offsets
        parts.append({name: on_host(x)[row, at] for name, x in made.items()})
        numbers.append(examples.values)
    seen = np.concatenate(numbers)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ordered = {
        name: values[np.argsort(seen)] if axis == "E" else split_in_order(values, seen, sizes)
        for name, values in joined.items()
    }
    return {term: total / weight for term, (total, weight) in sums.items() if weight}, ordered


def split_in_order(values: np.ndarray, seen: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """The values of each example, in the order of their numbers.

    values [sum of sizes, ...] has those of example seen[0] first; example k has sizes[k].

    >>> [x.tolist() for x in split_in_order(np.arange(3), np.array([1, 0]), np.array([1, 2]))]
    [[2], [0, 1]]
    """
    parts = np.split(values, np.cumsum(sizes[seen])[:-1])
    return [parts[place] for place in np.argsort(seen)]


def validation_records(feed: Feed) -> Any:
    """The raw examples of the validation records."""
    return feed.stream("valid", feed.design.spec.phases.eval_seq_len).members[0].examples


def example_numbers(stream: pipeline.Stream, size: int) -> Iterator[Ragged]:
    """The numbers of the examples in the rows of each batch of `size` rows of
    `pipeline.eval_batches`."""
    for first in range(0, len(stream), size):
        rows = range(first, min(first + size, len(stream)))
        yield stream.examples_of(rows, pipeline.EVAL_SEED)


def on_host(x: jax.Array) -> np.ndarray:
    """The complete array, in every process."""
    if x.is_fully_addressable:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def majority(feed: Feed) -> str | None:
    """The commonest class of the training examples, of those that are equally common the first;
    None without classes or training examples. It reads all labels: once per run."""
    task = feed.design.task.objective.example_task
    if task is None or not task.labels or "train" not in feed.splits:
        return None
    labels = feed.cache(feed.sources[0], "train").labels
    names = (name for label in labels if label is not None for name in task.classes(label))
    return Counter(sorted(names)).most_common(1)[0][0]


def add_labels(reports: Reports, labels: list[str | None], task: ExampleTask) -> Reports:
    """The reports with their numbers, and with their labels where these are known."""
    return [
        {
            "number": number,
            **({} if label is None else {"label": task.parse_label(label)}),
            **report,
        }
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
