"""Asks a model the items of a task, and summarises the reports."""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.scores.intervals import bootstrap, interval_of_constant
from pretrain_jax.tasks._base import Corpus, Metric, Model, Prompting, Report, Task
from pretrain_jax.tasks._records import SHOTS


@dataclass(frozen=True)
class Value:
    """A metric with its interval."""

    value: float
    low: float
    """The interval has 95 % of the values that other items of the same kind would give."""
    high: float


@dataclass(frozen=True)
class Result:
    """What a task says of a model."""

    task: str
    """The name of the result (`Request.label`)."""
    items: int
    metrics: Mapping[str, Value]
    chance: Mapping[str, float] = field(default_factory=dict)
    """By metric, what guessing gives."""
    groups: Mapping[str, tuple[int, Value]] = field(default_factory=dict)
    """(items, first metric) by group."""
    yardsticks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Metrics by yardstick."""
    group_yardsticks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The first metric by yardstick, by group."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the values depend on beside the model: shots, seed, and a digest of the data."""
    seconds: float = 0.0
    reports: Sequence[Report] = ()

    @property
    def main(self) -> str:
        """The name of the first metric."""
        return next(iter(self.metrics))


@dataclass(frozen=True)
class Request:
    """A task and the data that it is asked with."""

    name: str
    task: Task
    items: Sequence[Any]
    pool: Sequence[Any]
    """Items that may be solved examples."""
    prompting: Prompting
    digest: str
    """Of the items."""
    limit: int
    label: str
    """The name of the result: "blimp", "blimp_mine" with the data mine.jsonl, "blimp_10_each" with
    --limit=10, "patterns_4_shots". So it does not replace that of other questions."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the reports depend on beside the model."""
        return {
            "task": self.name,
            "limit": self.limit,
            "shots": self.prompting.shots,
            "seed": self.prompting.seed,
            "cot": self.prompting.reasons,
            "data": self.digest,
        }


def load_task(name: str) -> Task:
    """The task of a name. Raises ConfigError."""
    return registry.load("tasks", name, "--tasks").TASK


def find_data(name: str, folder: Path) -> Path:
    """The data of a task in a folder of several: FOLDER/NAME, or FOLDER/NAME.jsonl.

    "-" and "_" are the same in names.
    """
    places = [folder / name, folder / name.replace("_", "-"), folder / f"{name}.jsonl"]
    return next((place for place in places if place.exists()), places[0])


def read_task(
    name: str,
    path: Path,
    prompting: Prompting,
    limit: int = 0,
    corpus: Callable[[], Corpus] | None = None,
    by: str = "--data",
) -> Request:
    """The items of a task from a file or a folder. Raises ConfigError, DataError or InputMissing.

    limit: most items of each group, the first ones; 0 = all. corpus() -> the training text, for
    tasks that read it. by: what names the data, for messages.
    """
    task = load_task(name)
    if prompting.shots and not task.takes_shots:
        raise ConfigError(f"--shots needs a task with prompts; {name} has none. Leave it out")
    if prompting.reasons and not task.takes_reasons:
        raise ConfigError(
            f"--cot needs a task whose answers are generated; {name} has none. Leave it out"
        )
    if prompting.reference is not None and not task.takes_reference:
        raise ConfigError(f"--reference is for tasks that compare two models; {name} does not")
    digest, pool, own = "", None, name
    if task.make is not None:
        items = task.make()
    elif task.read_corpus is not None:
        if corpus is None:
            raise ConfigError(f"task {name} reads the training text of a run; name it: --workdir")
        items = task.read_corpus(corpus())
    else:
        assert task.read is not None
        if not path.exists():
            raise InputMissing(
                f"the data of task {name} must exist; there is no {path}. Name its folder with "
                f"{by}: a folder that has a folder or a .jsonl file of the name of each task"
            )
        items, digest = task.read(path), digest_of(path)
        own = re.sub(r"[^\w.]+", "_", path.name.removesuffix(path.suffix))
        pool = task.read(path / SHOTS) if (path / SHOTS).is_file() else None
    if not items:
        raise DataError(f"a task needs items; {path} has none for {name}")
    chosen = first_of_groups(items, limit)
    parts = {
        own if own.startswith(name) else f"{name}_{own}": True,
        f"{prompting.shots}_shots": prompting.shots,
        "cot": prompting.reasons,
        f"{limit}_each": len(chosen) < len(items),
    }
    label = "_".join(part for part, differs in parts.items() if differs)
    digest = digest or hashlib.sha256(repr(items).encode()).hexdigest()[:16]
    pool = items if pool is None else pool
    return Request(name, task, chosen, pool, prompting, digest, limit, label)


def first_of_groups(items: Sequence[Any], limit: int) -> list[Any]:
    """The first `limit` items of each group, in their order; all if it is 0."""
    seen: dict[str, int] = {}
    kept = []
    for item in items:
        group = getattr(item, "group", "")
        seen[group] = seen.get(group, 0) + 1
        if not limit or seen[group] <= limit:
            kept.append(item)
    return kept


def digest_of(path: Path) -> str:
    """A digest of the bytes of the files of a task."""
    files = [path] if path.is_file() else sorted(x for x in path.iterdir() if x.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def run_task(
    model: Model,
    request: Request,
    yardsticks: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Result:
    """Asks a model; see `Result`. yardsticks: models that are asked the same. settings: of the
    model."""
    task, began = request.task, time.monotonic()
    reports = ask(model, request)
    seconds = time.monotonic() - began
    groups = sorted({report.get("group", "") for report in reports})
    beside = {
        name: ask(other, request)
        for name, other in yardsticks.items()
        if hasattr(other, task.needs)
    }
    main = next(iter(task.metrics))
    return Result(
        task=request.label,
        items=len(reports),
        metrics={name: measure(metric, reports) for name, metric in task.metrics.items()},
        chance={name: task.chance[name](reports) for name in task.metrics if name in task.chance},
        groups={
            group: (len(some := of_group(reports, group)), measure(task.metrics[main], some))
            for group in groups
            if len(groups) > 1
        },
        yardsticks={name: values_of(task.metrics, other) for name, other in beside.items()},
        group_yardsticks={
            group: {
                name: task.metrics[main](columns_of(of_group(other, group), task.metrics[main]))
                for name, other in beside.items()
            }
            for group in groups
            if len(groups) > 1 and beside
        },
        settings={
            **settings,
            **request.settings,
            "protocol": task.protocol,
        },
        seconds=seconds,
        reports=reports,
    )


def ask(model: Model, request: Request) -> list[Report]:
    """The reports of a model, each with the number of its item."""
    reports = request.task.ask(model, request.items, request.pool, request.prompting)
    return [{"number": number, **report} for number, report in enumerate(reports)]


def of_group(reports: Sequence[Report], group: str) -> list[Report]:
    return [report for report in reports if report.get("group", "") == group]


def columns_of(reports: Sequence[Report], metric: Metric) -> dict[str, np.ndarray]:
    """The numbers that a metric reads, float64 [n]."""
    return {name: np.array([report[name] for report in reports], np.float64)
            for name in metric.columns}  # fmt: skip


def values_of(metrics: Mapping[str, Metric], reports: Sequence[Report]) -> dict[str, float]:
    return {name: metric(columns_of(reports, metric)) for name, metric in metrics.items()}


def measure(metric: Metric, reports: Sequence[Report]) -> Value:
    """The value of a metric, and its interval."""
    columns = columns_of(reports, metric)
    value = metric(columns)
    if metric.is_share and value in (0.0, 1.0):
        return Value(value, *interval_of_constant(value, len(reports)))
    return Value(value, *bootstrap(metric, columns))
