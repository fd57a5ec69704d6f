"""The training loop: dispatch this step, then read the numbers of the step before.

Nothing that can be switched on or off here (evaluation, saving, logging) changes a training bit.
"""

import contextlib
import json
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from pretrain_jax import code_version
from pretrain_jax.errors import InputMissing, Interrupted, NonFinite
from pretrain_jax.parallel import chips
from pretrain_jax.parallel.hosts import ALONE, Hosts
from pretrain_jax.train import begin, evaluation, flops, pseudo, workdir
from pretrain_jax.train.checkpoint import Checkpoints
from pretrain_jax.train.compiled import Steps
from pretrain_jax.train.compose import Design
from pretrain_jax.train.feed import Feed
from pretrain_jax.train.finished import finished
from pretrain_jax.train.metrics import SILENT, Progress, Silent, Throughput, Writer
from pretrain_jax.train.options import Phase
from pretrain_jax.train.signals import Signals
from pretrain_jax.train.startup import Startup
from pretrain_jax.train.step import TrainState, eval_step

log = logging.getLogger(__name__)


def train(config: Any, directory: str, hosts: Hosts = ALONE, accept_changes: bool = False) -> None:
    """Trains to `train.steps` in a workdir, going on from its last checkpoint.

    accept_changes: goes on although the code has changed what the run computes (code_version.py).

    Raises errors for people before anything is compiled; Interrupted after a signal, saved. Of
    several processes all raise what any of them has to say.
    """
    startup = Startup()
    with contextlib.ExitStack() as stack:
        with startup.part("configuration"):
            path = stack.enter_context(begin.claimed(directory, hosts))
            design = begin.designed(config, path, hosts)
        with hosts.together("the checkpoints"):
            checkpoints = Checkpoints(path / "checkpoints", **config.checkpoint)
            stack.enter_context(checkpoints)
        last = begin.last_step(checkpoints, hosts)
        if finished(design, path, last, hosts):
            return
        with hosts.together("the code"):
            begin.check_code(checkpoints, last, design.config, accept_changes)
            begin.tell_schedule(design, path, last, hosts)
        steps = stack.enter_context(Steps(design))
        with startup.part("data"):
            sources, stored = begin.open_texts(design, checkpoints, last, hosts)
            for phase in design.phases_after(last or 0)[:1]:
                steps.begin(phase)
            feed = begin.open_feed(design, sources, stored, path, hosts)
        with hosts.together("config.json"):
            if hosts.first:
                workdir.write_config(path, design.config.to_dict())
        with startup.part("state"):
            step, state = begin.start(design, checkpoints, last, hosts, feed.tokenizer)
        writer, progress = SILENT, SILENT
        if hosts.first:
            writer = stack.enter_context(Writer(path, step))
            progress = stack.enter_context(Progress(design.train.steps, step))
        signals = stack.enter_context(Signals())
        Loop(design, feed, checkpoints, writer, progress, signals, steps, startup).run(state, step)


def evaluate(config: Any, directory: str, hosts: Hosts = ALONE) -> None:
    """Evaluates the last checkpoint of a workdir and prints the line; writes nothing.

    The text may be other text than the run's own (begin.to_score).
    """
    path = epath.Path(directory)
    design = begin.designed(config, path, hosts, scoring=True)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        last = begin.last_step(checkpoints, hosts)
        if last is None:
            raise InputMissing(f"--mode=eval needs a checkpoint; {path}/checkpoints has none")
        begin.check_code(checkpoints, last, design.config, accept=True)
        sources, stored = begin.open_texts(design, checkpoints, last, hosts)
        feed = begin.open_feed(design, sources, stored, path, hosts)
        params = begin.params(design, checkpoints, last, hosts)
    function = jax.jit(partial(eval_step, program=design.program))
    special = jnp.asarray(feed.tokenizer.special)
    values = evaluation.numbers(design, feed, params, function, special)
    values |= pseudo.perplexity(design, feed, params, special)
    if hosts.first:
        print(json.dumps({"step": last, **values}))


@dataclass
class Loop:
    """What the loop works with; `run` is the loop."""

    design: Design
    feed: Feed
    checkpoints: Checkpoints
    writer: Writer | Silent
    progress: Progress | Silent
    signals: Signals
    steps: Steps
    startup: Startup

    def __post_init__(self):
        self.train = self.design.train
        self.eval_function = jax.jit(partial(eval_step, program=self.design.program))
        self.special = jnp.asarray(self.feed.tokenizer.special)
        self.throughput = Throughput()
        self.seq_len = self.design.data.seq_len
        self.first = self.measured_after = 0

    def run(self, state: TrainState, step: int) -> None:
        """From `step` updates done to `train.steps`."""
        self.first = step
        left = self.design.phases_after(step)
        with self.startup.part("compiling"):
            for phase in left[:1]:
                self.steps(phase)
        for phase in left:
            state, step = self.advance(phase, state, step)
            if step < phase.last:  # stopped
                break
        self.finish(state, step)

    def advance(self, phase: Phase, state: TrainState, step: int) -> tuple[TrainState, int]:
        """Through a phase, or to where a signal stops it."""
        self.seq_len = phase.seq_len
        self.measured_after = step + 2  # compilation, and the first step's page faults
        self.throughput.read()  # so that a line tells of one phase alone, and of no wait before it
        pending: tuple[int, Any] | None = None
        with contextlib.closing(self.feed.batches(phase, step)) as batches:
            while step < phase.last and not self.signals.stop():
                measured = step >= self.measured_after
                with contextlib.nullcontext() if measured else self.throughput.aside():
                    batch = self.design.rows.place(next(batches), phase.batch_size)
                    state, metrics = self.steps(phase)(state, batch)
                    if not measured:
                        jax.block_until_ready(metrics)
                if step == self.first:
                    self.progress.say(self.startup.line())
                step += 1
                self.report(pending)
                pending = (step, metrics)
                if self.pause_due(step):
                    self.report(pending)
                    pending = None
                    with self.throughput.aside():
                        self.pause(state, step)
            self.report(pending)
        return state, step

    def pause_due(self, step: int) -> bool:
        return self.checkpoints.due(step) or self.evaluation_due(step)

    def evaluation_due(self, step: int) -> bool:
        every = self.design.eval.every
        return bool(every and step and step % every == 0)

    def pause(self, state: TrainState, step: int) -> None:
        """Between two steps: evaluate, then save, each when it is due.

        In this order, a step that is committed has all its lines: whoever is killed in between
        evaluates again and does not miss a line.
        """
        if self.evaluation_due(step):
            self.evaluate(state, step)
        if self.checkpoints.due(step):
            self.save(state, step)

    def finish(self, state: TrainState, step: int) -> None:
        """The end of a run, or a stop: the last state is always committed."""
        stopped = self.signals.received if step < self.train.steps else None
        if not stopped and not self.evaluation_due(step):
            self.evaluate(state, step)
        self.save(state, step)
        self.checkpoints.wait()
        if stopped:
            raise Interrupted(
                f"stopped by {stopped.name} and saved at step {step} of {self.train.steps}; "
                "start the same command again to go on"
            )

    def save(self, state: TrainState, step: int) -> None:
        data = {
            "seed": self.design.config.seed,
            "step": step,
            "code": code_version.VERSION,
            "fingerprints": self.feed.fingerprints,
        }
        self.checkpoints.save(step, state, data, self.design.config.to_dict(), force=True)

    def report(self, pending: tuple[int, Any] | None) -> None:
        """Reads the numbers of a step that is done: stops on NaN, writes a line when it is due."""
        if pending is None:
            return
        step, metrics = pending
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        if not values["finite"]:
            raise NonFinite(
                f"loss and gradients must be finite; update {step} had loss {values['loss']} and "
                f"gradient norm {values['grad_norm']}. Its step was not taken. Lower "
                "optimizer.learning_rate, lengthen optimizer.warmup_steps or set train.z_loss=1e-4 "
                "and start again from the last checkpoint in a new --workdir"
            )
        if step > self.measured_after:
            self.throughput.count(int(values["tokens"]))
        if step % self.train.log_every and step != self.train.steps:
            self.progress.update(step)
            return
        rate = self.throughput.read()
        mfu = self.mfu(rate)
        line = {f"train/{name}": values[name] for name in ("loss", "grad_norm", "learning_rate")}
        extra = set(self.design.program.coefficients) - {"loss"}
        line |= {f"train/{name}": values[name] for name in sorted(extra)}
        self.writer.write(step, {**line, "tokens_per_second": rate, "mfu": mfu})
        self.progress.update(step, loss=values["loss"], tokens_per_second=rate, mfu=mfu)

    def mfu(self, tokens_per_second: float | None) -> float | None:
        """Share of the chips' peak; None where the peak of this device is not known."""
        peak = chips.peak_flops(self.design.device_kind, self.design.dtype)
        if tokens_per_second is None or peak is None:
            return None
        flops_per_token = flops.per_token(self.design, self.seq_len)
        return tokens_per_second * flops_per_token / (peak * len(self.design.devices))

    def evaluate(self, state: TrainState, step: int) -> None:
        """Writes the line of an evaluation, draws loss.png, samples a continuation."""
        values = evaluation.numbers(
            self.design, self.feed, state.params, self.eval_function, self.special
        )
        if step >= self.train.steps:
            values |= pseudo.perplexity(self.design, self.feed, state.params, self.special)
        new = self.writer.write(step, values)
        self.progress.say(evaluation.summary(step, values))
        self.writer.draw()
        if self.design.eval.sample_tokens and self.design.objective.covers_text:
            text = evaluation.continuation(self.design, self.feed, state.params, step)
            if new:
                self.writer.sample(step, text)
