"""Describes the learning rate over the rest of a run, for messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pretrain_jax.composition.update import build_schedule
from pretrain_jax.optim import schedules

REMEDIES = (
    "Move the end with --config.optimizer.decay_steps=N, which also works when resuming; or start "
    "a new schedule with these parameters, in a new --workdir with --config.init_from=WORKDIR. If "
    "the length of training is open, choose optimizer.schedule=wsd"
)


@dataclass(frozen=True)
class Tail:
    """The last updates of a run: those after the end of its schedule."""

    updates: int
    rate: float
    """The learning rate of all of them."""
    warning: str
    """A message about them; empty if there are none."""

    @property
    def is_wasted(self) -> bool:
        """Whether these updates change nothing."""
        return bool(self.updates) and self.rate == 0


def after_decay(config: Any, done: int) -> Tail:
    """The updates after the end of the schedule of a config with a resolved schedule.

    done: number of updates already done. With schedule=linear, decay_steps=60, steps=100 and 50
    updates done, 40 updates have the rate 0.
    """
    section, steps = config.optimizer, config.train.steps
    end = 0 if section.learning_rate == 0 else decay_end(section)
    updates = 0 if end is None else max(steps - max(done, end), 0)
    if not updates:
        return Tail(0, 0.0, "")
    rate = float(build_schedule(section)(steps - 1))
    why = f"optimizer.schedule={section.schedule} ends at optimizer.decay_steps={end}"
    if section.learning_rate == 0:
        why = "optimizer.learning_rate is 0"
    value = "is 0 and nothing is learned" if rate == 0 else f"stays at {rate:.3g}"
    span = f"in updates {steps - updates + 1} to {steps} ({updates})"
    return Tail(updates, rate, f"the learning rate {value} {span}: {why}. {REMEDIES}")


def warn_of_warmup(config: Any) -> str:
    """A warning if the run ends within its warm-up; otherwise "".

    With steps=30, warmup_steps=100 and learning_rate=0.003, the last rate is 0.0009.
    """
    steps, section = config.train.steps, config.optimizer
    if not steps or section.warmup_steps <= steps:
        return ""
    rate = float(build_schedule(section)(steps - 1))
    return (
        f"the run ends within its warm-up (optimizer.warmup_steps={section.warmup_steps}, "
        f"train.steps={steps}): its largest learning rate is {rate:.3g} of "
        f"{section.learning_rate:g}. In a new workdir, set optimizer.warmup_steps={steps // 10}"
    )


def decay_end(section: Mapping[str, Any]) -> int | None:
    """The number of updates after which the schedule of a section `optimizer` ends; None if it
    has no end."""
    return schedules.end_of_decay(
        section["schedule"],
        warmup_steps=section["warmup_steps"],
        decay_steps=section["decay_steps"],
    )


def compare_schedules(stored: Mapping[str, Any], config: Any, done: int) -> str:
    """A table of the old and the new learning rates; "" if `decay_steps` has not changed.

    stored: the config of the run up to its update `done`.
    """
    old, new, last = stored["optimizer"], config.optimizer, config.train.steps
    if old["decay_steps"] == new.decay_steps:
        return ""
    ends = [end for section in (old, new) if (end := decay_end(section)) is not None]
    middles = [(done + end) // 2 for end in ends]
    points = sorted({p for p in (done + 1, *middles, *ends, last) if done < p <= last})
    curves = [build_schedule(section) for section in (old, new)]
    rows = "".join(
        f"\n{point:10}{float(curves[0](point - 1)):12.3g}{float(curves[1](point - 1)):12.3g}"
        for point in points
    )
    head = f"{'update':>10}{'before':>12}{'now':>12}"
    return (
        f"the remaining learning rates, with optimizer.decay_steps={old['decay_steps']} (before) "
        f"and {new.decay_steps} (now):\n{head}{rows}"
    )


def describe_longer(config: Any) -> str:
    """A clause: the effect on the learning rate of a larger train.steps in a finished run."""
    end, warmup = decay_end(config.optimizer), config.optimizer.warmup_steps
    if warmup > config.train.steps:
        return f"its warm-up continues to update {warmup}"
    if end is None or end > config.train.steps:
        return f"optimizer.schedule={config.optimizer.schedule} continues unchanged"
    rate = float(build_schedule(config.optimizer)(end))
    return (
        f"the learning rate then stays at {rate:.3g}, unless you add "
        "--config.optimizer.decay_steps=N to end its decay later"
    )
