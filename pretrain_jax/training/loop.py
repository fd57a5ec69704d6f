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

from pretrain_jax import code_version
from pretrain_jax.cluster.hosts import ALONE, Hosts
from pretrain_jax.composition import resume
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.composition.phases import Phase
from pretrain_jax.devices import chips
from pretrain_jax.errors import Interrupted, NonFinite, UnwritableWorkdir
from pretrain_jax.estimates import flops
from pretrain_jax.evaluation import heldout, pseudo_perplexity
from pretrain_jax.reporting.writer import SILENT, Progress, Silent, Writer
from pretrain_jax.step import TrainState, eval_step
from pretrain_jax.training import finite, initial_state, setup
from pretrain_jax.training.compile import Steps
from pretrain_jax.training.finished import finished
from pretrain_jax.training.signals import Signals, Stopped
from pretrain_jax.training.startup import Startup
from pretrain_jax.training.throughput import Throughput
from pretrain_jax.workdir import history, run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)


def train(
    config: Any,
    directory: str,
    hosts: Hosts = ALONE,
    accept_changes: bool = False,
    go_back: bool = False,
) -> None:
    """Trains to `train.steps` in a workdir, going on from its last checkpoint.

    accept_changes: goes on although the code has changed what the run computes (code_version.py).
    go_back: goes on although a later checkpoint was there (history.py).

    Raises errors for people before anything is compiled; Interrupted after a signal, saved. Of
    several processes all raise what any of them has to say.
    """
    startup = Startup()
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())  # noted until all that is below is closed
        with startup.part("configuration"):
            path = stack.enter_context(setup.claimed(directory, hosts))
            design = setup.designed(config, path, hosts)
        with hosts.together("the checkpoints"):
            checkpoints = Checkpoints(path / "checkpoints", **config.checkpoint)
            stack.enter_context(checkpoints)
        last = setup.last_step(checkpoints, hosts)
        if finished(design, path, last, hosts):
            return
        with hosts.together("the code"):
            resume.check_code(checkpoints, last, design.spec, accept_changes)
            setup.tell_schedule(design, path, last, hosts)
            if hosts.first:
                history.check(path, last or 0, checkpoints.every, go_back)
        steps = stack.enter_context(Steps(design))
        with startup.part("data"):
            sources, stored = setup.open_texts(design, checkpoints, last, hosts)
            for phase in design.spec.phases.after(last or 0)[:1]:
                steps.begin(phase)
            feed = setup.open_feed(design, sources, stored, path, hosts)
        with hosts.together("config.json"):
            if hosts.first:
                run_config.write_config(path, design.spec.document)
        with startup.part("state"):
            step, state = initial_state.start(design, checkpoints, last, hosts, feed.tokenizer)
        writer, progress = SILENT, SILENT
        with hosts.together("the outputs"):
            if hosts.first:
                writer = stack.enter_context(Writer(path, step))
                progress = stack.enter_context(Progress(design.spec.train.steps, step))
        evaluated = json.loads(hosts.of_first("the evaluation", json.dumps(writer.evaluated)))
        signals.note_from_now()
        loop = Loop(design, feed, checkpoints, writer, progress, signals, steps, startup)
        loop.run(state, step, evaluated)


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
        self.train = self.design.spec.train
        self.eval_function = jax.jit(partial(eval_step, program=self.design.update.program))
        self.special = jnp.asarray(self.feed.tokenizer.unscored)
        self.throughput = Throughput()
        self.seq_len = self.design.spec.data.seq_len
        self.first = self.measured_after = 0
        self.pending: tuple[int, Any] | None = None
        self.evaluated: int | None = None

    def run(self, state: TrainState, step: int, evaluated: bool = False) -> None:
        """From `step` updates done to `train.steps`.

        evaluated: whether the line of an evaluation at `step` is there. Where one is due and was
        not done, because a signal or a kill came between saving and evaluating, it is done first.
        """
        self.first, self.step, self.state = step, step, state
        if evaluated and self.evaluation_due(step):
            self.evaluated = step
        left = self.design.spec.phases.after(step)
        with self.startup.part("compiling"):
            for phase in left[:1]:
                self.steps(phase)
        try:
            if self.evaluation_due(step) and self.evaluated != step and left:
                self.evaluate()
            for phase in left:
                self.advance(phase)
                if self.step < phase.last:  # stopped
                    break
            self.finish()
        except UnwritableWorkdir as error:
            self.rescue(error)
            raise

    def advance(self, phase: Phase) -> None:
        """Through a phase, or to where a signal stops it."""
        self.seq_len = phase.seq_len
        self.measured_after = self.step + 2  # compilation, and the first step's page faults
        self.throughput.read()  # so that a line tells of one phase alone, and of no wait before it
        with contextlib.closing(self.feed.batches(phase, self.step)) as batches:
            while self.step < phase.last and not self.signals.stop():
                measured = self.step >= self.measured_after
                with contextlib.nullcontext() if measured else self.throughput.aside():
                    batch = self.design.placement.rows.place(next(batches), phase.batch_size)
                    self.state, metrics = self.steps(phase)(self.state, batch)
                    if not measured:
                        jax.block_until_ready(metrics)
                if self.step == self.first:
                    self.progress.say(self.startup.line())
                self.step += 1
                self.report()
                self.pending = (self.step, metrics)
                self.checkpoints.settle()
                if self.checkpoints.due(self.step) or self.evaluation_due(self.step):
                    self.report()
                    with self.throughput.aside():
                        self.pause()
            self.report()

    def evaluation_due(self, step: int) -> bool:
        every = self.design.spec.eval.every
        return bool(every and step and step % every == 0)

    def pause(self) -> None:
        """Between two steps: save, then evaluate, each when it is due.

        In this order no evaluation stands between a signal and the state. A committed step whose
        evaluation did not come to its end is evaluated by the run that goes on from it.
        """
        if self.checkpoints.due(self.step):
            self.save()
        if self.evaluation_due(self.step):
            self.evaluate()

    def finish(self) -> None:
        """The end of a run, or a stop: the last state is always committed, and before all else."""
        self.save()
        done = self.step >= self.train.steps
        if done and self.evaluated != self.step and not self.signals.received:
            self.evaluate()
        self.checkpoints.wait()
        self.writer.saved(self.checkpoints.confirmed)
        if self.signals.received and not (done and self.evaluated == self.step):
            raise Interrupted(
                f"stopped by {self.signals.received.name} and saved at step {self.step} of "
                f"{self.train.steps}; start the same command again to go on"
            )

    def rescue(self, error: UnwritableWorkdir) -> None:
        """Saves the state after an output failed, where the disk allows it and all lines are there,
        which a run that goes on would not write. Alone, for other processes know nothing of it."""
        if self.pending is not None or self.checkpoints.failed or jax.process_count() > 1:
            return
        try:
            self.save()
            self.checkpoints.wait()
        except (UnwritableWorkdir, NonFinite) as failed:
            error.add_note(str(failed))

    def save(self) -> None:
        if self.checkpoints.stands(self.step):
            return
        if arrays := finite.not_finite(self.state):
            raise NonFinite(finite.of_state(self.step, arrays))
        data = {
            "seed": self.design.spec.seed,
            "step": self.step,
            "code": code_version.VERSION,
            "fingerprints": self.feed.fingerprints,
        }
        config = self.design.spec.document
        self.checkpoints.save(self.step, self.state, data, config, force=True)
        self.writer.saved(self.checkpoints.confirmed)

    def report(self) -> None:
        """Reads the numbers of a step that is done: stops on NaN, writes a line when it is due."""
        if self.pending is None:
            return
        step, metrics = self.pending
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        if not values["finite"]:
            raise NonFinite(finite.of_update(step, values, self.state))
        if step > self.measured_after:
            self.throughput.count(int(values["tokens"]), self.work(values))
        if step % self.train.log_every and step != self.train.steps:
            self.progress.update(step)
        else:
            self.write(step, values)
        self.pending = None

    def write(self, step: int, values: dict[str, float]) -> None:
        """The line of an update."""
        rate = self.throughput.read()
        mfu = self.mfu()
        line = {f"train/{name}": values[name] for name in ("loss", "grad_norm", "learning_rate")}
        extra = set(self.design.update.program.coefficients) - {"loss"}
        line |= {f"train/{name}": values[name] for name in sorted(extra)}
        self.writer.write(step, {**line, "tokens_per_second": rate, "mfu": mfu})
        self.progress.update(step, loss=values["loss"], tokens_per_second=rate, mfu=mfu)

    def work(self, values: dict[str, float]) -> float:
        """Training FLOPs of the real tokens of a step; 0 where nobody would know their share."""
        known = chips.peak_flops(self.design.target.kind, self.design.model.dtype)
        return flops.of_step(self.design, self.seq_len, values) if known else 0.0

    def mfu(self) -> float | None:
        """Share of the chips' peak since the last line; None where the peak is not known."""
        peak = chips.peak_flops(self.design.target.kind, self.design.model.dtype)
        rate = self.throughput.flops_per_second
        return (
            None
            if rate is None or peak is None
            else rate / (peak * len(self.design.target.devices))
        )

    def evaluate(self) -> None:
        """Writes the line of an evaluation and a sampled continuation, draws loss.png; nothing of
        it where a signal comes first."""
        try:
            values, text = self.scores()
        except Stopped:
            return
        self.evaluated = self.step
        self.writer.write(self.step, values, text)
        self.progress.say(heldout.summary(self.step, values))
        self.writer.draw()

    def scores(self) -> tuple[dict[str, float | None], str]:
        """The numbers of an evaluation, and the sample. Raises Stopped."""

        def watched(*arguments: Any) -> Any:
            self.signals.check()
            return self.eval_function(*arguments)

        params = self.state.params
        values = heldout.numbers(self.design, self.feed, params, watched, self.special)
        if self.step >= self.train.steps:
            self.signals.check()
            values |= pseudo_perplexity.perplexity(self.design, self.feed, params, self.special)
        self.signals.check()
        if not (self.design.spec.eval.sample_tokens and self.design.task.objective.covers_text):
            return values, ""
        return values, heldout.continuation(self.design, self.feed, params, self.step)
