"""What a run shows: metrics.jsonl, TensorBoard events, loss.png, samples.txt and a progress bar.

Everything here reads numbers that are already on the host; no training bit depends on it. In a
group of processes only process 0 makes these objects.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Self, SupportsFloat, TextIO

from etils import epath
from tqdm import tqdm

from pretrain_jax.errors import UnwritableWorkdir
from pretrain_jax.files import outputs
from pretrain_jax.reporting import plot
from pretrain_jax.reporting.tensorboard import Events, Tracker
from pretrain_jax.workdir import history

EVENTS = "tensorboard"
Value = SupportsFloat | None


class Writer:
    """Writes the numbers of a run into its workdir, going on after `restored_step`.

    Lines beyond the restored step (0: all of them) and a torn last line are dropped, and a line of
    that step that is there is not written again, so the file reads as if the run had never stopped.
    A line is on disk when `write` returns. Whatever cannot be written raises UnwritableWorkdir.

    >>> with Writer("runs/xl", restored_step=0) as writer:
    ...     writer.write(100, {"train/loss": 4.25, "mfu": None})
    ...     writer.write(100, {"valid/loss": math.inf})
    True
    True

    leaves in metrics.jsonl

        {"step": 100, "train/loss": 4.25, "mfu": null}
        {"step": 100, "valid/loss": null, "non_finite": {"valid/loss": "inf"}}

    A float is written so that it reads back to the same bits, float32 included. JSON has no NaN
    and no infinity: such a value is null, and `non_finite` says "nan", "inf" or "-inf".
    """

    def __init__(self, directory: epath.PathLike, restored_step: int):
        self._workdir = epath.Path(directory)
        self._trackers: list[Tracker] = [Events(self._workdir / EVENTS, restored_step)]
        self._curves: plot.Curves = {}
        lines = history.keep_lines(self._workdir, restored_step)
        for line in lines:
            plot.record_line(self._curves, line)
        self._there = [line for line in lines if line["step"] == restored_step]
        history.keep_samples(self._workdir, restored_step, self.evaluated)
        history.record(self._workdir, restored_step)
        self._recorded = restored_step
        self._plot = plot.LossPlot(self._workdir)

    @property
    def evaluated(self) -> bool:
        """Whether the line of an evaluation at the restored step is there."""
        return any("valid/loss" in line for line in self._there)

    def write(self, step: int, values: Mapping[str, Value], sample: str = "") -> bool:
        """Appends one line and the same scalars to the trackers (where None, nan, inf are left
        out); returns whether it was not there.

        `step` is the number of updates done. sample: a continuation for samples.txt. It is written
        first, so that where the line is, the sample is.
        """
        line = _line(step, values)
        if line in self._there:
            return False
        if sample:
            self._append(history.SAMPLES, f"==== step {step} ====\n{sample}\n\n")
        self._append(history.METRICS, json.dumps(line, allow_nan=False) + "\n")
        plot.record_line(self._curves, line)
        finite = {name: line[name] for name in values if line[name] is not None}
        for tracker in self._trackers:
            tracker.scalars(step, finite)
        return True

    def saved(self, step: int | None) -> None:
        """Notes the newest committed step, where it is not noted yet."""
        if step is not None and step > self._recorded:
            history.record(self._workdir, step)
            self._recorded = step

    def draw(self) -> None:
        """Draws loss.png in the background; a call while one is being drawn does nothing."""
        self._plot.draw(self._curves)

    def close(self) -> None:
        """Draws loss.png a last time."""
        try:
            self._plot.close(self._curves)
        finally:
            for tracker in self._trackers:
                tracker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Closes; what fails then is added as a note to an error that is already on its way."""
        try:
            self.close()
        except UnwritableWorkdir as failed:
            if error is None:
                raise
            error.add_note(str(failed))

    def _append(self, name: str, text: str) -> None:
        path = self._workdir / name
        with outputs.writing(path), path.open("a") as file:
            file.write(text)


def _line(step: int, values: Mapping[str, Value]) -> dict[str, Any]:
    line: dict[str, Any] = {"step": int(step)}
    non_finite: dict[str, str] = {}
    for name, value in values.items():
        if value is None or isinstance(value, Integral):
            line[name] = None if value is None else int(value)
        elif math.isfinite(number := float(value)):
            line[name] = number
        else:
            line[name] = None
            non_finite[name] = str(number)
    return line | ({"non_finite": non_finite} if non_finite else {})


class Progress:
    """A bar on a terminal; elsewhere one plain line at most every `seconds`.

    `total` is train.steps, `restored_step` where this process began. The estimate of the time
    left starts from the second update of this process, so it knows nothing of compilation, nor
    of how long earlier processes took.

    >>> with Progress(total=1000, restored_step=200, stream=sys.stdout) as progress:
    ...     progress.update(300, loss=3.21, tokens_per_second=51234.0, mfu=0.412)
    step 300/1000, loss 3.210, 51.2k tokens/s, MFU 41.2%
    """

    def __init__(
        self,
        total: int,
        restored_step: int,
        stream: TextIO | None = None,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._stream = sys.stderr if stream is None else stream
        self._total = total
        self._first = restored_step
        self._seconds = seconds
        self._clock = clock
        self._begun: tuple[int, float] | None = None
        self._shown = ""
        self._last_line = -math.inf
        self._bar: tqdm | None = None
        if _is_terminal(self._stream):
            self._bar = tqdm(
                total=total,
                initial=restored_step,
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
            )

    def update(
        self,
        step: int,
        loss: float | None = None,
        tokens_per_second: float | None = None,
        mfu: float | None = None,
    ) -> None:
        """Shows that `step` updates are done; what is not given stays as it was shown last."""
        now = self._clock()
        if self._begun is None and step >= self._first + 2:
            self._begun = (step, now)
        if loss is not None:
            self._shown = _shown(loss, tokens_per_second, mfu)
        last = step == self._total and loss is not None
        text = ", ".join(part for part in (self._shown, self._left(step, now)) if part)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._shown and (now - self._last_line >= self._seconds or last):
            self._last_line = now
            self.say(f"step {step}/{self._total}, {text}")

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the bar where it is; safe to call twice."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _left(self, step: int, now: float) -> str:
        if self._begun is None or step == self._begun[0] or step >= self._total:
            return ""
        per_step = (now - self._begun[1]) / (step - self._begun[0])
        return f"{tqdm.format_interval((self._total - step) * per_step)} left"


class Silent:
    """In place of Writer and Progress where another process speaks for all."""

    evaluated = False

    def write(self, step: int, values: Mapping[str, Value], sample: str = "") -> bool:
        return True

    def saved(self, step: int | None) -> None: ...

    def draw(self) -> None: ...

    def update(self, step: int, **shown: Value) -> None: ...

    def say(self, text: str) -> None: ...


SILENT = Silent()


def _is_terminal(stream: TextIO) -> bool:
    # A terminal that says it has no columns (some containers) would get an invisible bar.
    return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0


def _shown(loss: float, tokens_per_second: float | None, mfu: float | None) -> str:
    parts = [f"loss {loss:.3f}"]
    if tokens_per_second is not None:
        parts.append(f"{tqdm.format_sizeof(tokens_per_second)} tokens/s")
    if mfu is not None:
        parts.append(f"MFU {mfu:.1%}")
    return ", ".join(parts)
