"""The best evaluation of a run by its metric: which checkpoint to keep, and when to stop early."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pretrain_jax.composition.build import Design


@dataclass
class Best:
    """The best evaluation so far by one metric; greater is better, and of equal ones the first."""

    key: str
    """The key of the metric in metrics.jsonl, such as "valid/accuracy"."""
    step: int | None = None
    value: float = float("-inf")
    stale: int = 0
    """Evaluations since the best one."""

    @classmethod
    def of(cls, design: Design, lines: Iterable[Mapping[str, Any]] = ()) -> Self | None:
        """The best evaluation in lines of metrics.jsonl; None where no metric chooses one."""
        metric = design.task.objective.best_metric
        if not metric:
            return None
        best = cls(f"valid/{metric}")
        for line in lines:
            if "valid/objective" in line:
                best.add(line["step"], line.get(best.key))
        return best

    def add(self, step: int, value: float | None) -> bool:
        """Adds an evaluation; whether it is the best one.

        >>> best = Best("valid/accuracy")
        >>> [best.add(step, value) for step, value in ((10, 0.5), (20, 0.7), (30, 0.7))]
        [True, True, False]
        >>> best.step, best.stale
        (20, 1)
        """
        if value is None or not value > self.value:
            self.stale += 1
            return False
        self.step, self.value, self.stale = step, value, 0
        return True

    def is_exhausted(self, patience: int) -> bool:
        """Whether `patience` evaluations in a row were not better; never with a patience of 0."""
        return bool(patience) and self.stale >= patience
