"""Outputs of a run: metrics.jsonl, TensorBoard events, loss.png, samples.txt and a progress bar.

This module only handles numbers that are already on the host; no training bit depends on it. In a
run with several processes, only process 0 creates these objects.
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

from pretrain_jax.files import outputs
from pretrain_jax.reporting import plot
from pretrain_jax.reporting.tensorboard import EventFile
from pretrain_jax.workdir import history

TENSORBOARD = "tensorboard"
Value = SupportsFloat | None


class Writer:
    """Writes the metrics of a run into its workdir, resuming after `restored_step`.

    Lines after the restored step (0: all lines) and an incomplete last line are dropped. A line
    that exists is not written again, so the file reads as if the run had never stopped. A line is
    on disk when `write` returns. Raises UnwritableWorkdir.

    >>> with Writer("runs/xl", restored_step=0) as writer:
    ...     writer.write(100, {"train/loss": 4.25, "mfu": None})
    ...     writer.write(100, {"valid/loss": math.inf})
    True
    True

    leaves in metrics.jsonl

        {"step": 100, "train/loss": 4.25, "mfu": null}
        {"step": 100, "valid/loss": null, "non_finite": {"valid/loss": "inf"}}

    Floats read back to the same bits, float32 included. JSON has no NaN and no infinity: such a
    value is null, and `non_finite` has "nan", "inf" or "-inf".

    Keys of every line: `step`, the number of updates done. Readers ignore keys that they do not
    know. Keys of a training line (training/reports.py), every `train.log_every` steps:

        train/loss           the objective's main term, nats per predicted token; other terms of
                             the objective by name (train/z_loss, train/discriminator, ...)
        train/objective      what the optimizer minimizes: the weighted sum of these terms
        train/grad_norm      before clipping
        train/learning_rate  of this update
        tokens_per_second    real tokens (no padding) since the last line, without the time of
                             compiling, evaluating and saving; null where nothing was measured
        mfu                  model FLOPs utilization in the same time; null where the peak of the
                             devices is unknown
        tokens               real tokens since step 0, over all processes and restarts; null where
                             an earlier version did not count them
        seconds              wall time of the run since step 0, summed over its restarts; null as
                             above

    Keys of an evaluation line: see `evaluation.heldout.evaluate`; for objectives with labels see
    `evaluation.examples.evaluate`; those of `eval.tasks` are `tasks/blimp/accuracy` and so on
    (evaluation/eval_tasks.py).
    """

    def __init__(
        self,
        directory: epath.PathLike,
        restored_step: int,
        track: Callable[[int, Mapping[str, float]], None] = lambda step, values: None,
    ):
        """track(step, finite values) also gets each line."""
        self._track = track
        self._workdir = epath.Path(directory)
        self._events = EventFile(self._workdir / TENSORBOARD, restored_step)
        self._curves: plot.Curves = {}
        lines = history.truncate_metrics(self._workdir, restored_step)
        for line in lines:
            plot.record_line(self._curves, line)
        self._existing = [line for line in lines if line["step"] == restored_step]
        history.truncate_samples(self._workdir, restored_step, self.evaluated)
        history.record_saved(self._workdir, restored_step)
        self._recorded = restored_step
        self._plot = plot.LossPlot(self._workdir)

    @property
    def evaluated(self) -> bool:
        """Whether the restored step has an evaluation line."""
        return any("valid/objective" in line for line in self._existing)

    @property
    def evaluations(self) -> list[history.Line]:
        """The evaluation lines of metrics.jsonl."""
        lines = history.read_metrics(self._workdir)
        return [line for line in lines if "valid/objective" in line]

    def write(self, step: int, values: Mapping[str, Value], sample: str = "") -> bool:
        """Appends one line, and its finite scalars to the event file; False if the line exists.

        step: number of updates done. sample: a continuation for samples.txt, which is written
        first, so that a line never lacks its sample.
        """
        line = _line(step, values)
        if line in self._existing:
            return False
        if sample:
            self._append(history.SAMPLES, f"==== step {step} ====\n{sample}\n\n")
        self._append(history.METRICS, json.dumps(line, allow_nan=False) + "\n")
        plot.record_line(self._curves, line)
        finite = {name: line[name] for name in values if line[name] is not None}
        self._events.scalars(step, finite)
        self._track(step, finite)
        return True

    def replace(self, name: str, content: str) -> None:
        """Writes a file of the workdir, or replaces it atomically."""
        outputs.write_atomic(self._workdir / name, content.encode())

    def record_saved(self, step: int | None) -> None:
        """Records the newest committed step in saved.json."""
        if step is not None and step > self._recorded:
            history.record_saved(self._workdir, step)
            self._recorded = step

    def draw(self) -> None:
        """Starts to draw loss.png in the background; does nothing while it is being drawn."""
        self._plot.draw(self._curves)

    def close(self) -> None:
        """Draws loss.png a last time."""
        self._plot.close(self._curves)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Closes; if another error propagates, a failed write becomes a note of it."""
        outputs.close_or_note(self.close, error)

    def _append(self, name: str, text: str) -> None:
        path = self._workdir / name
        with outputs.report_unwritable(path), path.open("a") as file:
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
    """A progress bar on a terminal; elsewhere one plain line at most every `seconds`.

    total: `train.steps`. restored_step: the step that this process resumed from. The estimate of
    the remaining time starts from the second update of this process, so it excludes compilation
    and earlier processes.

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
        self._measured_from: tuple[int, float] | None = None
        self._numbers = ""
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
        """Shows that `step` updates are done; numbers that are not given keep their last value."""
        now = self._clock()
        if self._measured_from is None and step >= self._first + 2:
            self._measured_from = (step, now)
        if loss is not None:
            self._numbers = _format_numbers(loss, tokens_per_second, mfu)
        last = step == self._total and loss is not None
        text = ", ".join(part for part in (self._numbers, self._left(step, now)) if part)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._numbers and (now - self._last_line >= self._seconds or last):
            self._last_line = now
            self.print_line(f"step {step}/{self._total}, {text}")

    def print_line(self, text: str) -> None:
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
        if self._measured_from is None or step == self._measured_from[0] or step >= self._total:
            return ""
        per_step = (now - self._measured_from[1]) / (step - self._measured_from[0])
        return f"{tqdm.format_interval((self._total - step) * per_step)} left"


class Silent:
    """Replaces Writer and Progress in all processes but the first."""

    evaluated = False
    evaluations: tuple[history.Line, ...] = ()

    def replace(self, name: str, content: str) -> None: ...

    def write(self, step: int, values: Mapping[str, Value], sample: str = "") -> bool:
        return True

    def record_saved(self, step: int | None) -> None: ...

    def draw(self) -> None: ...

    def update(self, step: int, **numbers: Value) -> None: ...

    def print_line(self, text: str) -> None: ...


SILENT = Silent()


def _is_terminal(stream: TextIO) -> bool:
    # A terminal that reports 0 columns (in some containers) would show no bar.
    return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0


def _format_numbers(loss: float, tokens_per_second: float | None, mfu: float | None) -> str:
    parts = [f"loss {loss:.3f}"]
    if tokens_per_second is not None:
        parts.append(f"{tqdm.format_sizeof(tokens_per_second)} tokens/s")
    if mfu is not None:
        parts.append(f"MFU {mfu:.1%}")
    return ", ".join(parts)
