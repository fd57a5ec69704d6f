"""Evaluations during training: when they are due, their numbers, and a sampled continuation."""

from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.evaluation import heldout, prompts, pseudo_perplexity
from pretrain_jax.reporting.writer import Progress, Silent, Writer
from pretrain_jax.step import eval_step
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
    ):
        self.design, self.feed, self.signals = design, feed, signals
        self.writer, self.progress = writer, progress
        self.done: int | None = None
        """The last step whose evaluation is written."""
        self._eval_step = jax.jit(partial(eval_step, program=design.update.program))
        self._special = jnp.asarray(feed.tokenizer.unscored)

    @cached_property
    def prompt(self) -> np.ndarray:
        """int32 [n]: the held-out text that samples continue."""
        return prompts.choose_prompt(self.feed)

    def due(self, step: int) -> bool:
        """Whether an evaluation belongs after `step` updates and is missing."""
        every = self.design.spec.eval.every
        return bool(every and step and step % every == 0 and self.done != step)

    def evaluate(self, step: int, params: Any) -> None:
        """Writes the line of an evaluation and a sampled continuation, and draws loss.png; nothing
        of it where a signal comes first."""
        try:
            values, text = self._scores(step, params)
        except Stopped:
            return
        self.done = step
        self.writer.write(step, values, text)
        self.progress.print_line(heldout.format_summary(step, values))
        self.writer.draw()

    def _scores(self, step: int, params: Any) -> tuple[dict[str, float | None], str]:
        """The numbers of an evaluation, and the sample. Raises Stopped."""
        values = heldout.evaluate(self.design, self.feed, params, self._watched, self._special)
        spec = self.design.spec
        if step >= spec.train.steps:
            self.signals.check()
            values |= pseudo_perplexity.evaluate(self.design, self.feed, params, self._special)
        self.signals.check()
        if not (spec.eval.sample_tokens and self.design.task.objective.covers_text):
            return values, ""
        return values, heldout.sample_text(self.design, self.feed, params, step, self.prompt)

    def _watched(self, *arguments: Any) -> Any:
        """`eval_step` that a signal stops before the next batch."""
        self.signals.check()
        return self._eval_step(*arguments)
