"""Tasks that a run asks its model at each evaluation (`eval.tasks`), for a limited time."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_jax.composition.spec import Spec
from pretrain_jax.errors import NonFinite
from pretrain_jax.evaluation.run_task import Request, columns_of, find_data, read_task
from pretrain_jax.evaluation.task_model import TaskModel
from pretrain_jax.files import paths
from pretrain_jax.rounding import round_up
from pretrain_jax.tasks._base import Prompting, Report

ROUND = 64
"""Items between two looks at the clock, at least."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalTasks:
    """The tasks of a run, with their items."""

    requests: tuple[Request, ...]
    seconds: float
    """That they may take together, at each evaluation."""
    agree: Callable[[bool], bool] = lambda late: late
    """agree(whether time is up here) -> whether it is for all processes of the run."""

    @classmethod
    def read(cls, spec: Spec, agree: Callable[[bool], bool]) -> "EvalTasks":
        """The tasks of the section `eval`. Raises DataError or InputMissing."""
        data = Path(paths.expand_user(spec.eval.tasks_data, "eval.tasks_data"))
        requests = (
            read_task(name, find_data(name, data), Prompting(), by="eval.tasks_data")
            for name in dict.fromkeys(spec.eval.tasks)
        )
        return cls(tuple(requests), spec.eval.tasks_seconds, agree)

    def evaluate(self, model: TaskModel) -> dict[str, float]:
        """Keys: `tasks/blimp/accuracy` and so on for all metrics of a task, and
        `tasks/blimp/items`, the items that were asked in time."""
        values: dict[str, float] = {}
        began = time.monotonic()
        for number, request in enumerate(self.requests, start=1):
            until = began + self.seconds * number / len(self.requests)
            try:
                reports = self.ask(model, request, until)
            except NonFinite as error:  # the run itself stops at its own numbers, not at a task's
                log.warning("task %s: %s", request.name, error)
                reports = []
            for name, metric in request.task.metrics.items():
                values[f"tasks/{request.name}/{name}"] = metric(columns_of(reports, metric))
            values[f"tasks/{request.name}/items"] = float(len(reports))
        return values

    def ask(self, model: TaskModel, request: Request, until: float) -> list[Report]:
        """The reports of the first items, and of more until a time (time.monotonic())."""
        reports: list[Report] = []
        items = mix_groups(request.items)
        groups = len({getattr(item, "group", "") for item in items})
        size = round_up(ROUND, groups)  # so that groups of equal sizes get equally many
        for first in range(0, len(items), size):
            some = items[first : first + size]
            reports += request.task.ask(model, some, request.pool, request.prompting)
            if self.agree(time.monotonic() > until):
                break
        return reports


def mix_groups(items: Sequence[Any]) -> list[Any]:
    """The items in an order of which each beginning has as many items of each group.

    Items are shuffled in their group, always in the same way.
    """
    groups: dict[str, list[Any]] = {}
    for i in np.random.default_rng(0).permutation(len(items)):
        groups.setdefault(getattr(items[i], "group", ""), []).append(items[i])
    ranked = [(rank, name, item) for name, some in groups.items() for rank, item in enumerate(some)]
    return [item for _, _, item in sorted(ranked, key=lambda entry: entry[:2])]
