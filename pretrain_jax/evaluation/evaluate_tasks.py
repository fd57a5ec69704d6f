"""Evaluates a model on tasks: loads it, asks it, and stores and compares the results."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epath

from pretrain_jax.composition.compatibility import check_task
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.evaluation import result_files
from pretrain_jax.evaluation.run_task import (
    Result,
    Value,
    compare,
    load_task,
    read_task,
    run_task,
)
from pretrain_jax.evaluation.task_model import BATCH, TaskModel
from pretrain_jax.evaluation.training_text import TrainingText
from pretrain_jax.evaluation.yardsticks import NgramModel
from pretrain_jax.huggingface import _load
from pretrain_jax.inference.restore import pick_checkpoint
from pretrain_jax.reporting import run_files
from pretrain_jax.tasks._base import Prompting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Results:
    """The results of one model."""

    results: tuple[Result, ...]
    step: int
    differences: Mapping[str, Value]
    """By task, the first metric less that of another model."""
    other: str

    @property
    def summary(self) -> dict[str, Any]:
        """The object of --json."""
        made = {result.task: result_files.to_summary(result) for result in self.results}
        for task, value in self.differences.items():
            made[task]["difference"] = result_files.interval(value)
        return made

    @property
    def tables(self) -> Iterator[str]:
        """Markdown."""
        yield from result_files.to_markdown(
            [result_files.to_json(result, self.step) for result in self.results]
        )
        if not self.differences:
            return
        yield ""
        yield result_files.table_row("task", "metric", f"difference to {self.other}", "95 %")
        yield result_files.table_row("---", "---", "---:", "---:")
        for result in self.results:
            value, interval, *_ = result_files.cells(
                result_files.interval(self.differences[result.task]), []
            )
            yield result_files.table_row(result.task, result.main, value, interval)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a model is asked; see the command, evaluate.py."""

    likelihood: str = ""
    batch_size: int = BATCH
    shots: int = 0
    seed: int = 0
    limit: int = 0
    reasons: bool = False
    """--cot."""
    count_ngrams: bool = True
    """Whether to ask n-gram models of the training text too."""
    contamination: bool = False
    reference: str = ""
    other: str = ""
    """The workdir of --compare; "" = none."""


def evaluate(
    folder: str,
    data: Mapping[str, Path],
    *,
    step: int | None = None,
    stored: bool = True,
    options: Options = Options(),
) -> Results:
    """Asks the model in a folder the tasks whose data is given by name.

    stored: whether the folder is a workdir: results are written to it, and its training text is
    read. Raises ConfigError, DataError, InputMissing or UnwritableWorkdir.
    """
    if stored and epath.Path(folder).is_dir() and _load.is_foreign(epath.Path(folder)):
        raise ConfigError(
            f"--workdir must be the workdir of a run; {folder} is a Hugging Face model. Use --model"
        )
    text = TrainingText(pick_checkpoint(folder, step)[0]) if stored else None
    if options.contamination and text is None:
        raise ConfigError("--contamination needs the training text of a run: --workdir")
    against = TaskModel.of(_load.load(options.reference)) if options.reference else None
    prompting = Prompting(options.shots, options.seed, options.reasons, against)
    corpus = None if text is None else lambda: text.corpus
    requests = [
        read_task(name, path, prompting, options.limit, corpus) for name, path in data.items()
    ]
    model = _load.load(folder, step)
    asked = TaskModel.of(model, options.likelihood, options.batch_size)
    for request in requests:
        check_task(request.name, request.task, model.objective, model.family)
    count_ngrams = options.count_ngrams and any(hasattr(NgramModel, x.task.needs) for x in requests)
    beside = text.ngrams if text is not None and count_ngrams else {}
    results = []
    for request in requests:
        log.info("asking %s: %d items", request.name, len(request.items))
        settings: dict[str, Any] = {"likelihood": asked.likelihood}
        if text is not None and options.contamination:
            settings["contamination"] = text.contamination(request)
        results.append(run_task(asked, request, beside, settings))
    if text is not None:
        written = result_files.write(text.workdir, model.step, results)
        log.info("wrote the results of step %d to %s", model.step, written)
    others = {x.task: compare_with(options.other, x) for x in results if options.other}
    return Results(tuple(results), model.step, others, options.other)


def compare_with(other: str, result: Result) -> Value:
    """The difference of the first metric to that of the newest step of another workdir.

    Raises InputMissing or DataError.
    """
    workdir, step = pick_checkpoint(other, None)
    steps = [
        int(path.name)
        for path in (epath.Path(workdir) / run_files.TASKS).glob("[0-9]*")
        if (path / f"{result.task}.json").exists() and step in (None, int(path.name))
    ]
    if not steps:
        raise InputMissing(
            f"--compare needs stored results of task {result.task}; {other} has none. Run "
            f"evaluate --workdir={other} with the same tasks first"
        )
    folder = result_files.folder_of(workdir, max(steps))
    theirs = run_files.read_result(folder / f"{result.task}.json") or {}
    if theirs.get("settings", {}).get("data") != result.settings["data"]:
        raise DataError(
            f"two models are compared on the same data; that of {result.task} in {other} differs. "
            "Evaluate both with the same --data"
        )
    reports = result_files.read_reports(workdir, max(steps), result.task)
    return compare(load_task(result.task).metrics[result.main], result.reports, reports)
