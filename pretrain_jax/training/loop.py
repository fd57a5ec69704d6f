"""The training loop: dispatch a step, then read the metrics of the previous step.

Evaluation, saving and logging change no training bit.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import jax
from etils import epath

from pretrain_jax import code_version
from pretrain_jax.cluster.hosts import SINGLE_PROCESS, Hosts
from pretrain_jax.composition import resume
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import Interrupted, NonFinite, UnwritableWorkdir
from pretrain_jax.evaluation import reference
from pretrain_jax.evaluation.eval_tasks import EvalTasks
from pretrain_jax.optim.trees import join_trees
from pretrain_jax.reporting.tracking import Trackers
from pretrain_jax.reporting.writer import SILENT, Progress, Silent, Writer
from pretrain_jax.training import finished, finite, restore_or_init, setup
from pretrain_jax.training.best import Best
from pretrain_jax.training.compile import CompiledSteps
from pretrain_jax.training.evaluations import Evaluations
from pretrain_jax.training.profiling import Profile
from pretrain_jax.training.reports import Reports
from pretrain_jax.training.restore_or_init import Start
from pretrain_jax.training.signals import Signals
from pretrain_jax.training.startup import Startup
from pretrain_jax.workdir import history, run_config, starts
from pretrain_jax.workdir.checkpoint import Checkpoints


def train(
    config: Any,
    directory: str,
    hosts: Hosts = SINGLE_PROCESS,
    accept_changes: bool = False,
    go_back: bool = False,
) -> None:
    """Trains up to `train.steps` in a workdir; resumes from its last checkpoint.

    accept_changes: resume even if newer code changes what the run computes (code_version.py).
    go_back: resume even if later checkpoints have disappeared (workdir/history.py).

    Raises errors of the user before compiling, and Interrupted after a signal, once the state is
    saved. If one process of a run raises, all of them raise.
    """
    startup = Startup()
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())  # first, so it stays until the others are closed
        with startup.part("configuration"):
            path = stack.enter_context(setup.claim_workdir(directory, hosts))
            design, stored_config = setup.build_checked_design(config, path, hosts)
        with hosts.all_or_none("the checkpoints"):
            if hosts.is_primary and not (go_back or (path / "checkpoints").exists()):
                # Before the folder is created: it would be in the way of one that is moved back.
                history.check_not_lost(path, 0, design.spec.checkpoint["every"], go_back)
            checkpoints = Checkpoints(path / "checkpoints", **design.spec.checkpoint)
            stack.enter_context(checkpoints)
        last = setup.last_step(checkpoints, hosts)
        moved = stored_config is not None and stored_config["init_from"] != design.spec.init_from
        if not moved and finished.report_if_finished(design, path, last, hosts):
            return
        with hosts.all_or_none("the code"):
            resume.check_code_version(checkpoints, last, design.spec, accept_changes)
            setup.report_schedule(design, stored_config, last, hosts)
            if hosts.is_primary:
                history.check_not_lost(path, last or 0, checkpoints.every, go_back)
        steps = stack.enter_context(CompiledSteps(design))
        with startup.part("data"):
            corpora, fingerprints = setup.open_corpora(design, checkpoints, last, hosts)
            for phase in design.spec.phases.after(last or 0)[:1]:
                steps.start(phase)
            feed = setup.open_feed(design, corpora, fingerprints, path, hosts)
        with startup.part("state"):
            begin = restore_or_init.restore_or_init
            start = begin(design, checkpoints, last, hosts, feed.tokenizer)
            step = start.step
            first = None if step else join_trees(start.state.params, start.frozen)
            reference.prepare(design, feed, path, hosts, first)
        with hosts.all_or_none("the tasks of eval.tasks"):
            tasks = read_eval_tasks(design, hosts)
        with hosts.all_or_none("config.json"):  # after all that may refuse to start
            if hosts.is_primary:
                run_config.write_config(path, design.spec.config_dict)
        with hosts.all_or_none("the outputs"):
            if hosts.is_primary:
                starts.record(path, step, jax.devices(), jax.process_count())
            writer, progress = open_outputs(stack, path, step, design, hosts)
        evaluated = hosts.broadcast("the evaluation", writer.evaluated)
        signals.install()
        totals = resume.read_totals(checkpoints, last)
        reports = Reports(design, writer, progress, startup, **totals)
        best = Best.of(design, hosts.broadcast("the evaluations", writer.evaluations))
        if best is not None and best.step is not None:
            checkpoints.protect(best.step)
        evaluations = Evaluations(design, feed, writer, progress, signals, best, tasks)
        if evaluated:
            evaluations.last_step = step
        profile = Profile(design.spec.profile_steps, path, progress.print_line)
        stack.callback(profile.close)
        loop = Loop(
            design, path, feed, steps, checkpoints, signals, reports, evaluations, profile, start
        )
        loop.run()


def read_eval_tasks(design: Design, hosts: Hosts) -> EvalTasks | None:
    """The tasks of `eval.tasks`; None without any. Process 0 has the clock of all."""
    if not design.spec.eval.tasks:
        return None
    agree = lambda late: hosts.broadcast("the time of the tasks", late)  # noqa: E731
    return EvalTasks.read(design.spec, agree)


def open_outputs(
    stack: contextlib.ExitStack, path: epath.Path, step: int, design: Design, hosts: Hosts
) -> tuple[Writer | Silent, Progress | Silent]:
    """The writer and the progress bar of a run; silent ones except in process 0."""
    if not hosts.is_primary:
        return SILENT, SILENT
    spec = design.spec
    trackers = stack.enter_context(Trackers(spec.reporting.trackers, path, spec.config_dict))
    writer = stack.enter_context(Writer(path, step, trackers.log))
    return writer, stack.enter_context(Progress(spec.train.steps, step))


@dataclass
class Loop:
    """Everything that the loop uses; `run` is the loop."""

    design: Design
    workdir: epath.Path
    feed: Feed
    steps: CompiledSteps
    checkpoints: Checkpoints
    signals: Signals
    reports: Reports
    evaluations: Evaluations
    profile: Profile
    start: Start

    def run(self) -> None:
        """Trains from the step of the start to `train.steps`, or until a signal.

        First does the evaluation of `step` if it was due and is missing, because the last process
        ended between saving and evaluating.
        """
        self.state, self.step, self.frozen = self.start.state, self.start.step, self.start.frozen
        step = self.step
        phases = self.design.spec.phases.after(step)
        with self.reports.startup.part("compiling"):
            for phase in phases[:1]:
                self.steps(phase)
        try:
            if phases and self.evaluations.due(step):
                self.evaluate()
            for phase in phases:
                step_function = self.steps(phase)
                self.reports.begin(phase, self.step)
                with contextlib.closing(self.feed.batches(phase, self.step)) as batches:
                    while self.step < phase.last and not self.should_stop():
                        self.profile.begin(self.step)
                        with self.reports.timed(self.step):
                            rows = next(batches)
                            batch = self.design.placement.rows.to_global(rows, phase.batch_size)
                            self.state, metrics = step_function(self.state, batch, self.frozen)
                            self.reports.wait_in_warmup(self.step, metrics)
                        self.step += 1
                        self.profile.end(self.step, self.state)
                        self.reports.add(self.step, metrics, self.state)
                        self.checkpoints.raise_failure()
                        self.pause()
                    self.reports.read(self.state)
                if self.step < phase.last:
                    break
            self.finish()
        except UnwritableWorkdir as error:
            self.rescue(error)
            raise

    def pause(self) -> None:
        """Saves, then evaluates, each if it is due after this step.

        In this order no evaluation delays the state after a signal. If a committed step lacks its
        evaluation, the run that resumes from it evaluates first.
        """
        saving, evaluating = self.checkpoints.due(self.step), self.evaluations.due(self.step)
        if not (saving or evaluating):
            return
        self.reports.read(self.state)
        with self.reports.throughput.excluded():
            if saving:
                self.save()
            if evaluating:
                self.evaluate()

    def should_stop(self) -> bool:
        """Whether a signal arrived, or the evaluations stopped improving."""
        return self.evaluations.is_exhausted or self.signals.should_stop()

    def evaluate(self) -> None:
        """Evaluates the state, and keeps its checkpoint if it is the best one."""
        self.evaluations.evaluate(self.step, join_trees(self.state.params, self.frozen))
        best = self.evaluations.best
        if best is not None and best.step == self.step:
            self.checkpoints.protect(self.step)
            self.save()

    def finish(self) -> None:
        """Ends the run, or stops it: saves the last state before anything else."""
        if self.signals.received:
            name = self.signals.received.name
            self.reports.progress.print_line(f"{name} received: saving step {self.step}")
        self.save()
        steps = self.design.spec.train.steps
        done = self.step >= steps or self.evaluations.is_exhausted
        if done and self.evaluations.last_step != self.step and not self.signals.received:
            self.evaluate()
        self.checkpoints.wait()
        self.reports.writer.record_saved(self.checkpoints.confirmed)
        if self.signals.received and not (done and self.evaluations.last_step == self.step):
            raise Interrupted(
                f"stopped by {self.signals.received.name} and saved at step {self.step} of "
                f"{steps}; run the same command again to resume"
            )
        if done:
            if self.evaluations.is_exhausted and self.step < steps:
                self.reports.progress.print_line(self.evaluations.why_exhausted)
            for line in finished.next_steps(self.design, self.workdir, self.evaluations.best):
                self.reports.progress.print_line(line)

    def rescue(self, error: UnwritableWorkdir) -> None:
        """Tries to save the state after writing an output failed.

        Does not if a line of metrics is missing, since the resumed run would not write it, nor with
        several processes, since the others do not know of the failure.
        """
        if self.reports.pending or self.checkpoints.failed or jax.process_count() > 1:
            return
        try:
            self.save()
            self.checkpoints.wait()
        except (UnwritableWorkdir, NonFinite) as failed:
            error.add_note(str(failed))

    def save(self) -> None:
        """Saves the state unless it is already saved. Raises NonFinite."""
        if self.checkpoints.is_saved(self.step):
            return
        if arrays := finite.non_finite_arrays(self.state):
            raise NonFinite(finite.explain_state(self.step, arrays))
        spec = self.design.spec
        data_state = {
            "seed": spec.seed,
            "step": self.step,
            "code": code_version.VERSION,
            "fingerprints": self.feed.fingerprints,
            **self.reports.totals,
            **self.start.digests,
        }
        self.checkpoints.save(self.step, self.state, data_state, spec.config_dict, force=True)
        self.reports.writer.record_saved(self.checkpoints.confirmed)
