"""What the files of a workdir say of a run, for its report."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from etils import epath

from pretrain_jax.errors import InputMissing
from pretrain_jax.files import outputs, parsing
from pretrain_jax.workdir import history, run_config, starts

TASKS = "tasks"
"""The folder of evaluations on tasks, one folder for each step."""
FIX = "evaluate the task again"
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """The files of one workdir."""

    name: str
    """The folder, as short as its difference to the other runs allows."""
    workdir: epath.Path
    config: Mapping[str, Any]
    lines: Sequence[Line]
    """Those of metrics.jsonl."""
    samples: Sequence[tuple[int, str]]
    """(step, text)."""
    tasks: Mapping[int, Mapping[str, Line]]
    """The results of tasks by step and name."""
    starts: Sequence[Line]
    """Each start of the run: its command and environment."""

    def series(self, key: str) -> list[tuple[int, float]]:
        """(step, value) of each line with a finite number under this key."""
        return [(line["step"], float(line[key])) for line in self.lines if is_number(line.get(key))]

    @cached_property
    def keys(self) -> list[str]:
        """All keys of the lines, in the order in which they appear."""
        return list(dict.fromkeys(key for line in self.lines for key in line))

    def last(self, key: str) -> float | None:
        """The last value of a key; None without one."""
        points = self.series(key)
        return points[-1][1] if points else None

    def newest(self, task: str) -> tuple[int, Line] | None:
        """(step, result) of the last evaluation on a task; None without one."""
        steps = [step for step, results in self.tasks.items() if task in results]
        return (max(steps), self.tasks[max(steps)][task]) if steps else None

    @property
    def step(self) -> int:
        """The last step of a line; 0 without lines."""
        return max((line["step"] for line in self.lines), default=0)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_runs(workdirs: Sequence[epath.PathLike]) -> list[Run]:
    """The runs of some workdirs. Raises InputMissing or DataError."""
    # The folder "." has a name.
    full = [w if "://" in os.fspath(w) else os.path.abspath(w) for w in workdirs]
    return [read_run(epath.Path(w), name) for w, name in zip(full, names(full), strict=True)]


def names(workdirs: Sequence[epath.PathLike]) -> list[str]:
    """The last parts of the paths, as many as make them different.

    >>> names(["runs/a/gpt", "runs/b/gpt"])
    ['a/gpt', 'b/gpt']
    >>> names(["runs/a/gpt", "runs/a/gpt"])
    ['gpt (1)', 'gpt (2)']
    """
    paths = [str(epath.Path(w)).rstrip("/") for w in workdirs]
    ends = (["/".join(path.split("/")[-n:]) for path in paths] for n in itertools.count(1))
    found = next(some for some in ends if len(set(some)) == len(set(paths)))
    if len(set(found)) == len(found):
        return found
    return [f"{name} ({number})" for number, name in enumerate(found, start=1)]


def read_run(workdir: epath.Path, name: str) -> Run:
    """The run of a workdir. Raises InputMissing or DataError."""
    config = run_config.read_config(workdir)
    if config is None:
        raise InputMissing(f"--workdir must be the workdir of a run; {workdir} has no config.json")
    return Run(
        name=name,
        workdir=workdir,
        config=config,
        lines=history.read_metrics(workdir),
        samples=history.read_samples(workdir),
        tasks=read_tasks(workdir),
        starts=starts.read(workdir),
    )


def read_tasks(workdir: epath.Path) -> dict[int, dict[str, Line]]:
    """The results of tasks by step and name."""
    folder = workdir / TASKS
    if not folder.is_dir():
        return {}
    found: dict[int, dict[str, Line]] = {}
    for step in sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()):
        for file in sorted((folder / str(step)).glob("*.json"), key=str):
            if (result := read_result(file)) is not None:
                found.setdefault(step, {})[result["task"]] = result
    return found


def read_result(file: epath.Path) -> Line | None:
    """The result in a .json file of a task; None if the file has another content. Raises
    DataError."""
    content = outputs.read_json(file, FIX)
    if content is None or not isinstance(content.get("task"), str):
        return None
    keys = {"metrics": dict, "groups": dict, "yardsticks": dict, "items": int}
    return parsing.check_keys(keys, content, str(file), FIX)
