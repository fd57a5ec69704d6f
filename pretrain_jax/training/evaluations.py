"""Evaluations during training: when they are due, their metrics, and a sample."""

from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.evaluation import answers, examples, heldout, pseudo_perplexity, samples
from pretrain_jax.evaluation.eval_tasks import EvalTasks
from pretrain_jax.evaluation.examples import PREDICTIONS, Reports, to_lines
from pretrain_jax.evaluation.task_model import TaskModel
from pretrain_jax.inference.generation import build_generator
from pretrain_jax.inference.trained_model import TrainedModel
from pretrain_jax.reporting.writer import Progress, Silent, Writer
from pretrain_jax.step import eval_step, predict_step
from pretrain_jax.training.best import Best
from pretrain_jax.training.signals import Signals, Stopped


class Evaluations:
    """Evaluates the parameters of a run on held-out text."""

    def __init__(
        self,
        design: Design,
        feed: Feed,
        writer: Writer | Silent,
        progress: Progress | Silent,
        signals: Signals,
        best: Best | None = None,
        tasks: EvalTasks | None = None,
    ):
        self.design, self.feed, self.signals = design, feed, signals
        self.writer, self.progress = writer, progress
        self.tasks = tasks
        """The tasks of `eval.tasks`, if there are any."""
        self.last_step: int | None = None
        """The last step whose evaluation is in metrics.jsonl."""
        self.best = best
        """The best evaluation, where a metric chooses one."""
        self.labelled = design.task.objective.example_task is not None
        step = predict_step if self.labelled else eval_step
        self._eval_step = jax.jit(partial(step, program=design.update.program))
        self._special = jnp.asarray(feed.tokenizer.unscored)

    @cached_property
    def example(self) -> samples.Example:
        """The held-out example of all samples."""
        return samples.choose_example(self.feed)

    @cached_property
    def commonest_class(self) -> str | None:
        """That of the training examples, for the accuracy of always answering it."""
        return examples.majority(self.feed)

    def due(self, step: int) -> bool:
        """Whether an evaluation is due after `step` updates and not done yet."""
        every = self.design.spec.eval.every
        return bool(every and step and step % every == 0 and self.last_step != step)

    def evaluate(self, step: int, params: Any) -> None:
        """Writes the metrics of an evaluation with a sample or the predictions; draws loss.png.

        Writes nothing if a signal arrives first.
        """
        try:
            summary = self._evaluate_examples if self.labelled else self._evaluate_text
            line = summary(step, params)
        except Stopped:
            return
        self.last_step = step
        self.progress.print_line(line)
        self.writer.draw()

    @property
    def is_exhausted(self) -> bool:
        """Whether the metric has not improved for `eval.patience` evaluations."""
        return self.best is not None and self.best.is_exhausted(self.design.spec.eval.patience)

    @property
    def why_exhausted(self) -> str:
        """Why an exhausted run ends, for the terminal."""
        assert self.best is not None
        count = self.design.spec.eval.patience
        return (
            f"stopped at step {self.last_step}: {self.best.key} was not better in the last {count} "
            f"evaluation{'s' * (count > 1)} (eval.patience={count})"
        )

    def _evaluate_text(self, step: int, params: Any) -> str:
        values, reports, text = self._scores(step, params)
        self._write(step, values, reports, text)
        return heldout.format_summary(step, values)

    def _evaluate_examples(self, step: int, params: Any) -> str:
        function = self._eval_step_unless_stopped
        values, reports = examples.evaluate(
            self.design, self.feed, params, function, self.commonest_class
        )
        self._write(step, values, reports)
        return examples.format_summary(step, values)

    def _write(
        self, step: int, values: dict[str, float | None], reports: Reports, sample: str = ""
    ) -> None:
        """Writes the metrics with the sample and the predictions, and compares with the best."""
        if self.best is not None:
            self.writer.replace(PREDICTIONS, to_lines(reports))
            self.best.add(step, values.get(self.best.key), values.get("valid/objective"))
        self.writer.write(step, values, sample)

    def _scores(self, step: int, params: Any) -> tuple[dict[str, float | None], Reports, str]:
        """The metrics of an evaluation, the predictions, and the sample. Raises Stopped."""
        step_function = self._eval_step_unless_stopped
        values = heldout.evaluate(self.design, self.feed, params, step_function, self._special)
        spec = self.design.spec
        if step >= spec.train.steps:
            self.signals.raise_if_stopped()
            values |= pseudo_perplexity.evaluate(self.design, self.feed, params, self._special)
        self.signals.raise_if_stopped()
        objective, tokenizer = self.design.task.objective, self.feed.tokenizer
        reports, sample = [], ""
        samples_due = bool(spec.eval.sample_tokens and objective.prompt)
        if not (objective.answer_metric or samples_due or self.tasks):
            return values, reports, sample
        # Without the parameters of a teacher.
        own = {name: params[name] for name in self.design.model.param_shapes}
        generator = build_generator(self.design, own, tokenizer)
        if self.tasks:
            model = TrainedModel(self.design, tokenizer, step, generator)
            ask = TaskModel.of(model, "", self.feed.eval_batch_size, self.signals.raise_if_stopped)
            values |= self.tasks.evaluate(ask)
        if objective.answer_metric:
            scores, reports = answers.evaluate(self.feed, generator, self.signals.raise_if_stopped)
            values |= scores
        if samples_due:
            sample = samples.make_sample(self.design, generator, tokenizer, self.example, step)
        return values, reports, sample

    def _eval_step_unless_stopped(self, *arguments: Any) -> Any:
        """`eval_step`; raises Stopped if a signal arrived before this batch."""
        self.signals.raise_if_stopped()
        return self._eval_step(*arguments)
