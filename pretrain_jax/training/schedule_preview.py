"""The learning rate over the rest of a run, for people to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pretrain_jax.composition.update import build_schedule
from pretrain_jax.optim import schedules

WAYS = (
    "Move that end by --config.optimizer.decay_steps=N, also when a run goes on; or start a new "
    "schedule from these parameters, in a new --workdir with --config.init_from=WORKDIR. "
    "optimizer.schedule=wsd is the one to choose where the length of training is open"
)


@dataclass(frozen=True)
class Tail:
    """The last updates of a run, those behind the end of its schedule."""

    updates: int
    rate: float
    """The learning rate of all of them."""
    said: str
    """A sentence about them; empty where there are none."""

    @property
    def wasted(self) -> bool:
        """Whether they change nothing."""
        return bool(self.updates) and self.rate == 0


def tail(config: Any, done: int) -> Tail:
    """What a run with this config, whose schedule is fixed, does behind the end of its schedule.

    done: updates that it has behind it. With schedule=linear, decay_steps=60, steps=100 and 50
    updates done, 40 updates are left at the rate 0.
    """
    section, steps = config.optimizer, config.train.steps
    end = 0 if section.learning_rate == 0 else end_of(section)
    updates = 0 if end is None else max(steps - max(done, end), 0)
    if not updates:
        return Tail(0, 0.0, "")
    rate = float(build_schedule(section)(steps - 1))
    why = f"optimizer.schedule={section.schedule} ends at optimizer.decay_steps={end}"
    if section.learning_rate == 0:
        why = "optimizer.learning_rate is 0"
    what = "is 0, so nothing is learned, in" if rate == 0 else f"stays at {rate:.3g} in"
    said = f"the learning rate {what} updates {steps - updates + 1} to {steps} ({updates}): {why}"
    return Tail(updates, rate, f"{said}. {WAYS}")


def end_of(section: Mapping[str, Any]) -> int | None:
    """The count of updates at which the schedule of a section `optimizer` ends, where it does."""
    return schedules.end_of_decay(
        section["schedule"],
        warmup_steps=section["warmup_steps"],
        decay_steps=section["decay_steps"],
    )


def moved(stored: Mapping[str, Any], config: Any, done: int) -> str:
    """A table of the old and the new curve where a run goes on with another `decay_steps`; else "".

    stored: the config that the run has had up to its update `done`.
    """
    old, new, last = stored["optimizer"], config.optimizer, config.train.steps
    if old["decay_steps"] == new.decay_steps:
        return ""
    ends = [end for section in (old, new) if (end := end_of(section)) is not None]
    middles = [(done + end) // 2 for end in ends]
    points = sorted({p for p in (done + 1, *middles, *ends, last) if done < p <= last})
    curves = [build_schedule(section) for section in (old, new)]
    rows = "".join(
        f"\n{point:10}{float(curves[0](point - 1)):12.3g}{float(curves[1](point - 1)):12.3g}"
        for point in points
    )
    head = f"{'update':>10}{'before':>12}{'now':>12}"
    return (
        f"the learning rate from here on, by optimizer.decay_steps={old['decay_steps']} as "
        f"before and {new.decay_steps} as now asked for:\n{head}{rows}"
    )


def longer(config: Any) -> str:
    """What the learning rate does where train.steps of a finished run is raised: a clause."""
    end = end_of(config.optimizer)
    if end is None or end > config.train.steps:
        return f"optimizer.schedule={config.optimizer.schedule} goes on as it was"
    rate = float(build_schedule(config.optimizer)(end))
    return (
        f"the learning rate then stays at {rate:.3g}, unless you add "
        "--config.optimizer.decay_steps=N with a later end"
    )
