"""Compares two models on the same items: a difference with its interval."""

from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from pretrain_jax.errors import DataError, InputMissing
from pretrain_jax.evaluation import result_files
from pretrain_jax.evaluation.run_task import Request, Value, columns_of
from pretrain_jax.inference.restore import pick_checkpoint
from pretrain_jax.reporting import run_files
from pretrain_jax.scores.intervals import bootstrap
from pretrain_jax.tasks._base import Metric, Report


def read_other(folder: str, request: Request) -> tuple[Metric, Sequence[Report]]:
    """(first metric, reports) of another model to the items of `request`.

    folder: a workdir, whose newest step with such results counts, or one of its checkpoints.

    Raises InputMissing, or DataError unless the items and the prompts are the same.
    """
    workdir, step = pick_checkpoint(folder, None)
    found = [
        number
        for number in run_files.task_steps(epath.Path(workdir))
        if (result_files.folder_of(workdir, number) / f"{request.label}.json").exists()
        and step in (None, number)
    ]
    if not found:
        raise InputMissing(
            f"--compare needs stored results named {request.label}; {folder} has none. Run "
            f"evaluate --workdir={folder} with the same tasks and options first"
        )
    file = result_files.folder_of(workdir, max(found)) / f"{request.label}.json"
    theirs = (run_files.read_result(file) or {}).get("settings", {})
    ours = request.settings
    different = sorted(key for key in ours if theirs.get(key) != ours[key])
    if different:
        raise DataError(
            f"two models are compared on the same items and prompts; {', '.join(different)} of "
            f"{file} differ from this evaluation. Evaluate both with the same options and "
            "--data; a task about the training text needs the same training text"
        )
    metric = next(iter(request.task.metrics.values()))
    reports = result_files.read_reports(workdir, max(found), request.label)
    try:
        columns_of(reports, metric)
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"each line of {file.with_suffix('.jsonl')} must have the numbers of an item; "
            f"{run_files.FIX}"
        ) from None
    return metric, reports


def compare(metric: Metric, ours: Sequence[Report], others: Sequence[Report]) -> Value:
    """The difference of a metric between two models on the same items, with its interval.

    The items are drawn in pairs, so that what makes an item hard for both cancels. Raises DataError
    unless both have the same items.
    """
    if [x["number"] for x in ours] != [x["number"] for x in others]:
        raise DataError(
            f"two models are compared on the same items; received {len(ours)} and {len(others)}. "
            "Evaluate both with the same --data and --limit"
        )
    a, b = columns_of(ours, metric), columns_of(others, metric)
    both = {f"a {name}": x for name, x in a.items()} | {f"b {name}": x for name, x in b.items()}

    def difference(columns: Mapping[str, np.ndarray]) -> float:
        first, second = (
            metric({name: columns[f"{side} {name}"] for name in metric.columns}) for side in "ab"
        )
        return first - second

    return Value(difference(both), *bootstrap(difference, both))
