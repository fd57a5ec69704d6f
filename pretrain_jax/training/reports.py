"""Reports of training updates: lines of metrics, the progress bar, tokens and seconds."""

import contextlib
import time
from typing import Any

import jax

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.phases import Phase
from pretrain_jax.devices import chips
from pretrain_jax.errors import NonFinite
from pretrain_jax.estimates import flops
from pretrain_jax.reporting.writer import Progress, Silent, Writer
from pretrain_jax.step import TrainState
from pretrain_jax.training import finite
from pretrain_jax.training.startup import Startup
from pretrain_jax.training.throughput import Throughput

WARMUP_STEPS = 2
"""Steps at the start of a phase that rates ignore: compilation, and the first page faults."""


class Reports:
    """Reads the metrics of an update while the next one runs, and writes a line when it is due.

    tokens, seconds: totals of the run so far; None if an earlier version did not count them.
    """

    def __init__(
        self,
        design: Design,
        writer: Writer | Silent,
        progress: Progress | Silent,
        startup: Startup,
        tokens: int | None = 0,
        seconds: float | None = 0.0,
    ):
        self.design, self.writer, self.progress, self.startup = design, writer, progress, startup
        self.throughput = Throughput()
        self.pending: tuple[int, Any] | None = None
        """Step and metrics of the update that is not read yet."""
        self._tokens, self._seconds, self._since = tokens, seconds, time.monotonic()
        self._seq_len, self._measured_after, self._first = design.spec.data.seq_len, 0, True

    @property
    def totals(self) -> dict[str, Any]:
        """Tokens and seconds of the run so far, over all its restarts; kept in checkpoints."""
        if self._seconds is None:
            return {"tokens": self._tokens, "seconds": None}
        return {"tokens": self._tokens, "seconds": self._seconds + time.monotonic() - self._since}

    def begin(self, phase: Phase, step: int) -> None:
        """Starts a phase after `step` updates, so that no line mixes the rates of two phases."""
        self._seq_len = phase.seq_len
        self._measured_after = step + WARMUP_STEPS
        self.throughput.read()

    def timed(self, step: int) -> contextlib.AbstractContextManager[None]:
        """A context for an update: excludes its time from rates during warm-up."""
        measured = step >= self._measured_after
        return contextlib.nullcontext() if measured else self.throughput.excluded()

    def wait_in_warmup(self, step: int, metrics: Any) -> None:
        """Waits for an update during warm-up, so that its time does not count later."""
        if step < self._measured_after:
            jax.block_until_ready(metrics)

    def add(self, step: int, metrics: Any, state: TrainState) -> None:
        """Adds the metrics of update `step`, which is running, and reads those of the previous
        one."""
        if self._first:
            self.progress.print_line(self.startup.line())
            self._first = False
        self.read(state)
        self.pending = (step, metrics)

    def read(self, state: TrainState) -> None:
        """Reads the pending metrics, and writes a line when it is due. Raises NonFinite."""
        if self.pending is None:
            return
        step, metrics = self.pending
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        if not values["finite"]:
            raise NonFinite(finite.explain_update(step, values, state))
        if self._tokens is not None:
            self._tokens += int(values["tokens"])
        if step > self._measured_after:
            self.throughput.count(int(values["tokens"]), self.flops(values))
        train = self.design.spec.train
        if step % train.log_every and step != train.steps:
            self.progress.update(step)
        else:
            self._write(step, values)
        self.pending = None

    def _write(self, step: int, values: dict[str, float]) -> None:
        rate = self.throughput.read()
        mfu = self.mfu()
        names = ("loss", "objective", "grad_norm", "learning_rate")
        line = {f"train/{name}": values[name] for name in names}
        extra = set(self.design.update.program.coefficients) - {"loss"}
        line |= {f"train/{name}": values[name] for name in sorted(extra)}
        line |= {"tokens_per_second": rate, "mfu": mfu, **self.totals}
        self.writer.write(step, line)
        self.progress.update(step, loss=values["loss"], tokens_per_second=rate, mfu=mfu)

    @property
    def _peak(self) -> float | None:
        """Peak FLOPs per second of one chip; None if unknown."""
        return chips.peak_flops(self.design.target.kind, self.design.model.dtype)

    def flops(self, values: dict[str, float]) -> float:
        """Training FLOPs of the tokens of a step, without padding; 0 if the chip is unknown."""
        return flops.per_step(self.design, self._seq_len, values) if self._peak else 0.0

    def mfu(self) -> float | None:
        """Model FLOPs utilization since the last line, 0 to 1; None if the peak is unknown."""
        peak, rate = self._peak, self.throughput.flops_per_second
        if rate is None or peak is None:
            return None
        return rate / (peak * len(self.design.target.devices))
