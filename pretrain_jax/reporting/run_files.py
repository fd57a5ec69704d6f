"""What the files of a workdir say of a run, for its report.

The files are checked here, when they are read: the page takes their shapes for granted.
"""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from etils import epath

from pretrain_jax.errors import DataError, InputMissing, UnwritableWorkdir, short_repr
from pretrain_jax.files import outputs, parsing
from pretrain_jax.files.paths import is_remote
from pretrain_jax.workdir import history, run_config, starts
from pretrain_jax.workdir.step_folders import step_numbers

TASKS = "tasks"
"""The folder of evaluations on tasks, one folder for each step."""
FIX = "evaluate the task again"
FIX_LINE = "fix or remove that line"
SECTIONS = {"model": dict, "objective": dict}
"""Sections of a config that the page reads, if they are there."""
START = {"step": int, "time": str, "packages": dict, "platform": str, "devices": str}
"""Keys of a line of starts.jsonl that the page reads, if they are there."""
LARGEST = sys.float_info.max
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
    full = [w if is_remote(w) else os.path.abspath(w) for w in workdirs]
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
    config = read_config(workdir)
    with report_unreadable(workdir / history.SAMPLES):
        samples = history.read_samples(workdir)
    return Run(
        name=name,
        workdir=workdir,
        config=config,
        lines=read_lines(workdir),
        samples=samples,
        tasks=read_tasks(workdir),
        starts=read_starts(workdir),
    )


@contextlib.contextmanager
def report_unreadable(path: epath.Path) -> Iterator[None]:
    """A block that reads a file or folder of a run, and does not write it. Raises DataError."""
    try:
        yield
    except (UnwritableWorkdir, OSError) as error:
        cause = error.__cause__ or error
        raise DataError(
            f"{path} must be readable; {getattr(cause, 'strerror', None) or cause}. Fix its "
            "permissions, or move away what is in its place"
        ) from error


def read_config(workdir: epath.Path) -> Line:
    """The config. Raises InputMissing or DataError."""
    path = workdir / run_config.CONFIG
    with report_unreadable(path):
        config = run_config.read_config(workdir)
    if config is None:
        raise InputMissing(f"--workdir must be the workdir of a run; {workdir} has no config.json")
    check_present(SECTIONS, config, str(path), "restore it from a checkpoint")
    return config


def read_lines(workdir: epath.Path) -> Sequence[Line]:
    """The lines of metrics.jsonl. Raises DataError."""
    path = workdir / history.METRICS
    with report_unreadable(path):
        lines = history.read_metrics(workdir)
    for line in lines:
        numbers = {key: value for key, value in line.items() if is_number(value)}
        check_numbers(numbers, f"{path} at step {short_repr(line['step'])}", FIX_LINE)
    return lines


def read_starts(workdir: epath.Path) -> Sequence[Line]:
    """The lines of starts.jsonl. Raises DataError."""
    path = workdir / starts.STARTS
    with report_unreadable(path):
        lines = starts.read(workdir)
    for number, line in enumerate(lines, start=1):
        check_present(START, line, f"start {number} of {path}", FIX_LINE)
    return lines


def read_tasks(workdir: epath.Path) -> dict[int, dict[str, Line]]:
    """The results of tasks by step and name."""
    found: dict[int, dict[str, Line]] = {}
    for step in task_steps(workdir):
        for file in sorted((workdir / TASKS / str(step)).glob("*.json"), key=str):
            if (result := read_result(file)) is not None:
                found.setdefault(step, {})[result["task"]] = result
    return found


def task_steps(workdir: epath.Path) -> list[int]:
    """The steps with results of tasks, ascending. Raises DataError."""
    folder = workdir / TASKS
    with report_unreadable(folder):
        return step_numbers(folder) if folder.is_dir() else []


def read_result(file: epath.Path) -> Line | None:
    """The result in a .json file of a task; None if the file has another content. Raises
    DataError."""
    with report_unreadable(file):
        content = outputs.read_json(file, FIX)
    if content is None or not isinstance(content.get("task"), str):
        return None
    keys = {"metrics": dict, "groups": dict, "yardsticks": dict, "items": int}
    result = parsing.check_keys(keys, content, str(file), FIX)
    if not result["metrics"]:
        raise DataError(f'"metrics" in {file} must have a metric; it is empty; {FIX}')
    for key in ("metrics", "yardsticks"):
        check_tables(result[key], f"{key} of {file}")
    main = next(iter(result["metrics"]))
    for name, group in check_dicts(result["groups"], f"groups of {file}").items():
        what = f"group {name} of {file}"
        parsing.check_keys({"items": int, main: dict, "yardsticks": dict}, group, what, FIX)
        check_tables({key: group[key] for key in (main, "yardsticks")}, what)
    return result


def check_dicts(values: dict[str, Any], what: str) -> dict[str, Any]:
    """Returns `values`; raises DataError unless all are dicts."""
    return parsing.check_keys(dict.fromkeys(values, dict), values, what, FIX)


def check_tables(tables: dict[str, Any], what: str) -> None:
    """Raises DataError unless the values are dicts of finite numbers or null."""
    for name, values in check_dicts(tables, what).items():
        check_numbers(values, f"{name} in {what}", FIX)


def check_present(keys: Mapping[str, type], values: dict[str, Any], what: str, fix: str) -> None:
    """Raises DataError unless the values of these keys have these types, as far as they exist."""
    present = {key: kind for key, kind in keys.items() if key in values}
    parsing.check_keys(present, values, what, fix)


def check_numbers(values: Mapping[str, Any], what: str, fix: str) -> None:
    """Raises DataError unless all values are null or numbers that a float can hold."""
    for key, value in values.items():
        if value is not None and not (is_number(value) and abs(value) <= LARGEST):
            raise DataError(
                f'"{key}" in {what} must be a finite number or null; it is {short_repr(value)}; '
                f"{fix}"
            )
