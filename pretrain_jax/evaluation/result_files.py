"""The results of tasks as files and tables.

    WORKDIR/tasks/STEP/blimp.json          metrics with intervals, groups, yardsticks, settings
    WORKDIR/tasks/STEP/blimp.jsonl         the report of each item
    WORKDIR/tasks/STEP/results.md          the tables of all tasks of this step
    WORKDIR/tasks/STEP/lm_eval.json        the metrics in the form of lm-evaluation-harness

Results of the same name (run_task.Request.label) and step are replaced.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from etils import epath

from pretrain_jax.errors import DataError
from pretrain_jax.evaluation.run_task import Result, Value
from pretrain_jax.files import outputs, parsing
from pretrain_jax.reporting.run_files import FIX, TASKS, read_result
from pretrain_jax.tasks._base import Report

log = logging.getLogger(__name__)
STANDARD_NORMAL = 1.959964
"""The 97.5 % quantile of the standard normal distribution: half the width of a 95 % interval in
standard errors."""


def folder_of(workdir: epath.PathLike, step: int) -> epath.Path:
    return epath.Path(workdir) / TASKS / str(step)


def write(workdir: epath.PathLike, step: int, results: Sequence[Result]) -> epath.Path:
    """Writes the files of some tasks; returns their folder. Raises UnwritableWorkdir."""
    folder = folder_of(workdir, step)
    with outputs.report_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_file = partial(outputs.write_atomic, writer=f".{os.getpid()}")
    for result in results:
        lines = "".join(json.dumps(report) + "\n" for report in result.reports)
        write_file(folder / f"{result.task}.jsonl", lines.encode())
        content = json.dumps(to_json(result, step), indent=1) + "\n"
        write_file(folder / f"{result.task}.json", content.encode())
    stored = list(read_others(folder))
    write_file(folder / "results.md", ("\n".join(to_markdown(stored)) + "\n").encode())
    in_harness_form = json.dumps(to_lm_eval(stored), indent=1) + "\n"
    write_file(folder / "lm_eval.json", in_harness_form.encode())
    return folder


def read_others(folder: epath.Path) -> Iterator[Mapping[str, Any]]:
    """The results of a step. Leaves out a damaged file, with a warning."""
    for file in sorted(folder.glob("*.json"), key=str):
        try:
            result = read_result(file)
        except DataError as error:
            log.warning("left out of results.md: %s", error)
            continue
        if result is not None:
            yield result


def to_json(result: Result, step: int) -> dict[str, Any]:
    """The object of a .json file. NaN becomes null."""
    return {
        "task": result.task,
        "step": step,
        "items": result.items,
        "metrics": {
            name: {**interval(value), **chance(result.chance, name)}
            for name, value in result.metrics.items()
        },
        "yardsticks": {
            k: {n: finite(x) for n, x in v.items()} for k, v in result.yardsticks.items()
        },
        "groups": {
            group: {
                "items": count,
                result.main: interval(value),
                "yardsticks": {
                    k: finite(x) for k, x in result.group_yardsticks.get(group, {}).items()
                },
            }
            for group, (count, value) in result.groups.items()
        },
        "settings": dict(result.settings),
        "seconds": round(result.seconds, 3),
    }


def interval(value: Value) -> dict[str, float | None]:
    return {"value": finite(value.value), "low": finite(value.low), "high": finite(value.high)}


def chance(values: Mapping[str, float], name: str) -> dict[str, float]:
    return {"chance": values[name]} if name in values else {}


def finite(value: float) -> float | None:
    """A number that JSON has; None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def read_reports(workdir: epath.PathLike, step: int, task: str) -> list[Report]:
    """The reports of a task. Raises InputMissing or DataError."""
    file = folder_of(workdir, step) / f"{task}.jsonl"
    lines = parsing.read_bytes(file, f"evaluate {task} there first").split(b"\n")
    return [parsing.parse_json_as(line, dict, str(file), FIX) for line in lines if line.strip()]


def to_summary(result: Result) -> dict[str, Any]:
    """What --json prints of a task: its metrics, the interval of the first, and the items."""
    first = result.metrics[result.main]
    return {
        **{name: finite(value.value) for name, value in result.metrics.items()},
        "low": finite(first.low),
        "high": finite(first.high),
        "items": result.items,
        **({"chance": result.chance[result.main]} if result.main in result.chance else {}),
        **{name: finite(x[result.main]) for name, x in result.yardsticks.items()},
    }


def to_markdown(stored: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tables of the objects of .json files: all metrics, then the groups of each task."""
    names = list(dict.fromkeys(name for one in stored for name in one["yardsticks"]))
    yield table_row("task", "metric", "value", "95 % interval", "chance", *names, "items")
    yield table_row("---", "---", *["---:"] * (4 + len(names)))
    for one in stored:
        for metric, value in one["metrics"].items():
            beside = [one["yardsticks"].get(name, {}).get(metric) for name in names]
            yield table_row(one["task"], metric, *cells(value, beside), str(one["items"]))
    for one in stored:
        if not one["groups"]:
            continue
        metric = next(iter(one["metrics"]))
        beside = list(one["yardsticks"])
        yield ""
        yield table_row(one["task"], metric, "95 % interval", *beside, "items")
        yield table_row("---", *["---:"] * (3 + len(beside)))
        for group, of in one["groups"].items():
            value, low_to_high, _, *rest = cells(
                of[metric], [of["yardsticks"].get(name) for name in beside]
            )
            yield table_row(group, value, low_to_high, *rest, str(of["items"]))


def table_row(*texts: str) -> str:
    """A row of Markdown; a cell may hold any text."""
    cells = (" ".join(text.split()).replace("|", "\\|") for text in texts)
    return f"| {' | '.join(cells)} |"


def cells(value: Mapping[str, Any], beside: Sequence[float | None]) -> list[str]:
    """Value, interval, chance, and yardsticks."""
    known = value["low"] is not None
    low_to_high = f"{number(value['low'])} to {number(value['high'])}" if known else ""
    return [number(value["value"]), low_to_high, number(value.get("chance"))] + [
        number(x) for x in beside
    ]


def number(value: float | None) -> str:
    """A number of a table, with three digits after the point, or four digits in all.

    >>> number(0.51234), number(12345.6), number(None)
    ('0.512', '12,346', '')
    """
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def to_lm_eval(stored: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The results in the form that lm-evaluation-harness writes: "acc,none" and its standard error.

    The standard error is that of a normal distribution with the same interval.
    """
    renamed = {"accuracy": "acc", "accuracy_by_bytes": "acc_bytes"}
    results: dict[str, dict[str, Any]] = {}
    for one in stored:
        values: dict[str, Any] = {"alias": one["task"]}
        for metric, value in one["metrics"].items():
            name = renamed.get(metric, metric)
            values[f"{name},none"] = value["value"]
            known = value["high"] is not None and value["low"] is not None
            width = value["high"] - value["low"] if known else None
            error = None if width is None else width / 2 / STANDARD_NORMAL
            values[f"{name}_stderr,none"] = error
        results[one["task"]] = values
    return {
        "results": results,
        "n-shot": {one["task"]: one.get("settings", {}).get("shots", 0) for one in stored},
        "n-samples": {
            one["task"]: {"original": one["items"], "effective": one["items"]} for one in stored
        },
    }
