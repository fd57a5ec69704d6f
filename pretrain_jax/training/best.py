"""The best evaluation of a run by its metric: which checkpoint to keep, and when to stop early."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pretrain_jax.composition.build import Design


@dataclass
class Best:
    """The best evaluation so far by one metric; greater is better. Of equal ones it is the one with
    the smaller objective, which goes on where the metric has reached its limit."""

    key: str
    """The key of the metric in metrics.jsonl, such as "valid/accuracy"."""
    step: int | None = None
    value: float = float("-inf")
    objective: float = float("inf")
    """What is minimized, at the best evaluation."""
    stale: int = 0
    """Evaluations since the metric was better than before."""

    @classmethod
    def of(cls, design: Design, lines: Iterable[Mapping[str, Any]] = ()) -> Self | None:
        """The best evaluation in lines of metrics.jsonl; None where no metric chooses one."""
        metric = design.task.objective.best_metric
        if not metric:
            return None
        best = cls(f"valid/{metric}")
        for line in lines:
            if "valid/objective" in line:
                best.add(line["step"], line.get(best.key), line["valid/objective"])
        return best

    def add(self, step: int, value: float | None, objective: float | None = None) -> None:
        """Adds an evaluation. One that is equal, with a smaller objective, becomes the best one; it
        counts as stale all the same.

        >>> best = Best("valid/accuracy")
        >>> for step, value, nats in ((10, 0.5, 0.9), (20, 0.7, 0.6), (30, 0.7, 0.5)):
        ...     best.add(step, value, nats)
        >>> best.step, best.stale
        (30, 1)
        """
        found = float("-inf") if value is None else value
        nats = float("inf") if objective is None else objective
        better = found > self.value
        self.stale = 0 if better else self.stale + 1
        is_tie = value is not None and value == self.value
        if better or (is_tie and nats < self.objective):
            self.step, self.value, self.objective = step, found, nats

    def is_exhausted(self, patience: int) -> bool:
        """Whether `patience` evaluations in a row were not better; never with a patience of 0."""
        return bool(patience) and self.stale >= patience
