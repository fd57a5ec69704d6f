"""The composition root: a config becomes values.

    spec        what the config says (spec.py)
    target      the devices that the run is for (devices/target.py)
    task        the objective, and the shapes of its batches (task.py)
    model       the module and its parameters as shapes (model.py)
    placement   the mesh and the shardings (placement.py)
    update      the optimizer and the training step (update.py)

Each is built when it is first used; nothing is allocated and no data is read. The host half, from
corpora to batches, is feed.py's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pretrain_jax.composition.model import Model, build_model
from pretrain_jax.composition.placement import Placement
from pretrain_jax.composition.spec import Spec, spec_of
from pretrain_jax.composition.task import Task
from pretrain_jax.composition.update import Update
from pretrain_jax.devices.target import Target
from pretrain_jax.optim import schedules


def fix_schedule(config: Any, stored: Mapping[str, Any] | None = None) -> Any:
    """The config with `optimizer.decay_steps` fixed: 0 stands for the length of the first run.

    stored: the config that the workdir already belongs to, whose decay a resumed run keeps, so
    that a longer `train.steps` does not bend the past. Where the config names another decay, that
    is the one from now on (training/schedule_preview.py shows both).
    """
    section = config.optimizer
    steps = section.decay_steps or (stored or {}).get("optimizer", {}).get("decay_steps", 0)
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        fixed.optimizer.decay_steps = schedules.resolve_decay_steps(
            decay_steps=steps, warmup_steps=section.warmup_steps, train_steps=config.train.steps
        )
    return fixed


@dataclass(frozen=True, eq=False)
class Design:
    """The values that a config becomes, apart from its data."""

    spec: Spec
    target: Target

    @cached_property
    def task(self) -> Task:
        return Task(self.spec)

    @cached_property
    def model(self) -> Model:
        return build_model(self.spec, self.task, self.target)

    @cached_property
    def plain_model(self) -> Model:
        """The model in the form in which parameters and FLOPs are counted."""
        return build_model(self.spec, self.task, self.target, plain=True)

    @cached_property
    def placement(self) -> Placement:
        return Placement(self.spec, self.task, self.target, self.model)

    @cached_property
    def update(self) -> Update:
        return Update(self.spec, self.task, self.placement)

    def check(self) -> None:
        """Raises ConfigError for whatever can be known to be wrong before data and compilation."""
        self.placement.check()
        self.task.check()
        _ = self.update.program, self.update.state_shardings  # building them checks them


def build_design(config: Any, devices: Sequence[Any] = (), simulated: str = "") -> Design:
    """The values of a resolved config for these devices.

    simulated: the kind of GPU that CPU devices stand for ("NVIDIA H100").
    """
    return Design(spec_of(config), Target(tuple(devices), simulated))
