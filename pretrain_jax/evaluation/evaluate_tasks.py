"""Evaluates a model on tasks: loads it, asks it, and stores and compares the results."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epath

from pretrain_jax.composition.compatibility import check_task
from pretrain_jax.errors import ConfigError
from pretrain_jax.evaluation import result_files
from pretrain_jax.evaluation.comparison import compare, read_other
from pretrain_jax.evaluation.contamination import WORDS, text_of
from pretrain_jax.evaluation.run_task import (
    Request,
    Result,
    Value,
    read_task,
    run_task,
)
from pretrain_jax.evaluation.task_model import BATCH, TaskModel
from pretrain_jax.evaluation.training_text import TrainingText
from pretrain_jax.evaluation.yardsticks import NgramModel
from pretrain_jax.huggingface import _load
from pretrain_jax.inference.restore import pick_checkpoint
from pretrain_jax.tasks._base import Prompting
from pretrain_jax.tokenizers import Tokenizer

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
        warn_of_unknown(request, model.tokenizer)
    others = {x.label: read_other(options.other, x) for x in requests if options.other}
    count_ngrams = options.count_ngrams and any(hasattr(NgramModel, x.task.needs) for x in requests)
    beside = text.ngrams if text is not None and count_ngrams else {}
    results = []
    for request in requests:
        log.info("asking %s: %d items", request.label, len(request.items))
        settings: dict[str, Any] = {"likelihood": asked.likelihood}
        if text is not None and options.contamination:
            portion, long = text.contamination(request)
            settings["contamination"] = {"share": portion, "items": long}
            log.info("%s: %s", request.label, describe_contamination(portion, long))
        results.append(run_task(asked, request, beside, settings))
    if text is not None:
        written = result_files.write(text.workdir, model.step, results)
        log.info("wrote the results of step %d to %s", model.step, written)
    differences = {}
    for result in results if others else ():
        metric, theirs = others[result.task]
        differences[result.task] = compare(metric, result.reports, theirs)
    return Results(tuple(results), model.step, differences, options.other)


def describe_contamination(share: float | None, items: int) -> str:
    """
    >>> describe_contamination(0.25, 40)
    'of 40 items with 13 words or more, 25.0 % occur in the training text'
    """
    if share is None:
        return f"no item has {WORDS} words, so none is looked for in the training text"
    found = f"of {items} items with {WORDS} words or more, {100 * share:.1f} %"
    return f"{found} occur in the training text"


def warn_of_unknown(request: Request, tokenizer: Tokenizer) -> None:
    """Logs the share of a task's text that the tokenizer has no ids for."""
    texts = [text_of(item) for item in request.items]
    unknown = sum(map(tokenizer.unknown_bytes, texts))
    if unknown:
        log.warning(
            "%s: the tokenizer has no ids for %.1f %% of the text. Such tokens are not scored, so "
            "texts with them seem likelier than they are",
            request.label,
            100 * unknown / sum(len(text.encode()) for text in texts),
        )
