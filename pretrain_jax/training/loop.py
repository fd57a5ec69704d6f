"""The training loop: dispatch a step, then read the numbers of the step before.

Nothing that can be switched on or off here (evaluation, saving, logging) changes a training bit.
"""

import contextlib
import json
from dataclasses import dataclass
from typing import Any

import jax

from pretrain_jax import code_version
from pretrain_jax.cluster.hosts import SINGLE_PROCESS, Hosts
from pretrain_jax.composition import resume
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import Interrupted, NonFinite, UnwritableWorkdir
from pretrain_jax.reporting.writer import SILENT, Progress, Writer
from pretrain_jax.step import TrainState
from pretrain_jax.training import finite, restore_or_init, setup
from pretrain_jax.training.compile import CompiledSteps
from pretrain_jax.training.evaluations import Evaluations
from pretrain_jax.training.finished import finished
from pretrain_jax.training.reports import Reports
from pretrain_jax.training.signals import Signals
from pretrain_jax.training.startup import Startup
from pretrain_jax.workdir import history, run_config
from pretrain_jax.workdir.checkpoint import Checkpoints


def train(
    config: Any,
    directory: str,
    hosts: Hosts = SINGLE_PROCESS,
    accept_changes: bool = False,
    go_back: bool = False,
) -> None:
    """Trains to `train.steps` in a workdir and resumes from its last checkpoint.

    accept_changes: resume although newer code changes what the run computes (code_version.py).
    go_back: resume although later checkpoints are gone (workdir/history.py).

    Raises errors for people before anything is compiled, and Interrupted after a signal, when the
    state is saved. All processes of a run raise the error of any of them.
    """
    startup = Startup()
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())  # noted until everything below is closed
        with startup.part("configuration"):
            path = stack.enter_context(setup.claimed(directory, hosts))
            design = setup.designed(config, path, hosts)
        with hosts.all_or_none("the checkpoints"):
            checkpoints = Checkpoints(path / "checkpoints", **design.spec.checkpoint)
            stack.enter_context(checkpoints)
        last = setup.last_step(checkpoints, hosts)
        if finished(design, path, last, hosts):
            return
        with hosts.all_or_none("the code"):
            resume.check_code(checkpoints, last, design.spec, accept_changes)
            setup.tell_schedule(design, path, last, hosts)
            if hosts.is_primary:
                history.check(path, last or 0, checkpoints.every, go_back)
        steps = stack.enter_context(CompiledSteps(design))
        with startup.part("data"):
            corpora, stored = setup.open_texts(design, checkpoints, last, hosts)
            for phase in design.spec.phases.after(last or 0)[:1]:
                steps.begin(phase)
            feed = setup.open_feed(design, corpora, stored, path, hosts)
        with hosts.all_or_none("config.json"):
            if hosts.is_primary:
                run_config.write_config(path, design.spec.document)
        with startup.part("state"):
            step, state = restore_or_init.state(design, checkpoints, last, hosts, feed.tokenizer)
        writer, progress = SILENT, SILENT
        with hosts.all_or_none("the outputs"):
            if hosts.is_primary:
                writer = stack.enter_context(Writer(path, step))
                progress = stack.enter_context(Progress(design.spec.train.steps, step))
        evaluated = json.loads(hosts.broadcast("the evaluation", json.dumps(writer.evaluated)))
        signals.note_from_now()
        totals = resume.totals(checkpoints, last)
        reports = Reports(design, writer, progress, startup, **totals)
        evaluations = Evaluations(design, feed, writer, progress, signals)
        if evaluated:
            evaluations.done = step
        Loop(design, feed, steps, checkpoints, signals, reports, evaluations).run(state, step)


@dataclass
class Loop:
    """What the loop works with; `run` is the loop."""

    design: Design
    feed: Feed
    steps: CompiledSteps
    checkpoints: Checkpoints
    signals: Signals
    reports: Reports
    evaluations: Evaluations

    def run(self, state: TrainState, step: int) -> None:
        """From `step` updates done to `train.steps`, or to where a signal stops it.

        An evaluation that was due at `step` and is missing, because a signal or a kill came
        between saving and evaluating, is done first.
        """
        self.state, self.step = state, step
        phases = self.design.spec.phases.after(step)
        with self.reports.startup.part("compiling"):
            for phase in phases[:1]:
                self.steps(phase)
        try:
            if phases and self.evaluations.due(step):
                self.evaluations.evaluate(step, state.params)
            for phase in phases:
                step_function = self.steps(phase)
                self.reports.begin(phase, self.step)
                with contextlib.closing(self.feed.batches(phase, self.step)) as batches:
                    while self.step < phase.last and not self.signals.stop():
                        with self.reports.timed(self.step):
                            rows = next(batches)
                            batch = self.design.placement.rows.to_global(rows, phase.batch_size)
                            self.state, metrics = step_function(self.state, batch)
                            self.reports.settle(self.step, metrics)
                        self.step += 1
                        self.reports.add(self.step, metrics, self.state)
                        self.checkpoints.settle()
                        self.pause()
                    self.reports.read(self.state)
                if self.step < phase.last:
                    break
            self.finish()
        except UnwritableWorkdir as error:
            self.rescue(error)
            raise

    def pause(self) -> None:
        """Between two steps: saves, then evaluates, each when it is due.

        In this order no evaluation comes between a signal and the state. Where a committed step
        lacks its evaluation, the run that resumes from it evaluates first.
        """
        saving, evaluating = self.checkpoints.due(self.step), self.evaluations.due(self.step)
        if not (saving or evaluating):
            return
        self.reports.read(self.state)
        with self.reports.throughput.aside():
            if saving:
                self.save()
            if evaluating:
                self.evaluations.evaluate(self.step, self.state.params)

    def finish(self) -> None:
        """The end of a run, or a stop: commits the last state before anything else."""
        if self.signals.received:
            name = self.signals.received.name
            self.reports.progress.print_line(f"{name} received: saving step {self.step}")
        self.save()
        steps = self.design.spec.train.steps
        done = self.step >= steps
        if done and self.evaluations.done != self.step and not self.signals.received:
            self.evaluations.evaluate(self.step, self.state.params)
        self.checkpoints.wait()
        self.reports.writer.record_saved(self.checkpoints.confirmed)
        if self.signals.received and not (done and self.evaluations.done == self.step):
            raise Interrupted(
                f"stopped by {self.signals.received.name} and saved at step {self.step} of "
                f"{steps}; start the same command again to resume"
            )

    def rescue(self, error: UnwritableWorkdir) -> None:
        """Saves the state after an output failed, where the disk allows it and no line is missing,
        since a run that resumes would not write it. Not with several processes: the others do not
        know of the failure."""
        if self.reports.pending or self.checkpoints.failed or jax.process_count() > 1:
            return
        try:
            self.save()
            self.checkpoints.wait()
        except (UnwritableWorkdir, NonFinite) as failed:
            error.add_note(str(failed))

    def save(self) -> None:
        """Saves the state unless it is saved already. Raises NonFinite."""
        if self.checkpoints.stands(self.step):
            return
        if arrays := finite.not_finite(self.state):
            raise NonFinite(finite.of_state(self.step, arrays))
        spec = self.design.spec
        data = {
            "seed": spec.seed,
            "step": self.step,
            "code": code_version.VERSION,
            "fingerprints": self.feed.fingerprints,
            **self.reports.totals,
        }
        self.checkpoints.save(self.step, self.state, data, spec.document, force=True)
        self.reports.writer.record_saved(self.checkpoints.confirmed)
