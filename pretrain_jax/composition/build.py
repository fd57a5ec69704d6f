"""The composition root: turns a resolved config into six values.

    spec        the values of the config (spec.py)
    target      the devices that the run is for (devices/target.py)
    task        the objective, and the shapes of its batches (task.py)
    model       the module, and the shapes of its parameters (model.py)
    placement   the mesh and the shardings (placement.py)
    update      the optimizer and the training step (update.py)

Each is built on first use. Building allocates no arrays and reads no data. feed.py builds the host
side: corpora, tokenizer and batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import adaptation
from pretrain_jax.composition.compatibility import check_eval_tasks
from pretrain_jax.composition.model import Model, build_model
from pretrain_jax.composition.placement import Placement
from pretrain_jax.composition.spec import Spec, build_spec
from pretrain_jax.composition.task import Task
from pretrain_jax.composition.teacher_config import teacher_config
from pretrain_jax.composition.update import Update
from pretrain_jax.devices.target import Target
from pretrain_jax.optim import schedules


def fix_schedule(config: Any, stored: Mapping[str, Any] | None = None) -> Any:
    """The config with `optimizer.decay_steps` resolved; 0 means the length of the first run.

    stored: the config of the workdir, if it has one. A resumed run keeps the stored decay, so a
    larger `train.steps` does not change past learning rates. A nonzero decay in `config` replaces
    it (training/schedule_preview.py shows both curves).
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
    """The values that a config is built into, except its data."""

    spec: Spec
    target: Target
    separate_layers: bool = False
    """Whether the model is for generation; see BuildContext."""

    @cached_property
    def task(self) -> Task:
        return Task(self.spec)

    @cached_property
    def model(self) -> Model:
        return build_model(self.spec, self.task, self.target, separate_layers=self.separate_layers)

    @cached_property
    def plain_model(self) -> Model:
        """The model for counting parameters and FLOPs: plain attention, unpadded vocabulary."""
        return build_model(self.spec, self.task, self.target, plain=True)

    @cached_property
    def placement(self) -> Placement:
        return Placement(self.spec, self.task, self.target, self.model)

    @cached_property
    def teacher(self) -> "Design | None":
        """The design of the teacher, for objective distill."""
        objective = self.task.objective
        if not objective.teacher:
            return None
        return Design(build_spec(teacher_config(self.spec, objective)), self.target)

    @cached_property
    def update(self) -> Update:
        return Update(self.spec, self.task, self.placement, self.teacher and self.teacher.placement)

    def check(self) -> None:
        """Raises ConfigError for every error that shows without data and compilation."""
        adaptation.check(self.spec, self.model.adapter)
        _ = self.model.trained  # choosing them checks them
        if self.teacher is not None:
            adaptation.check_distilled(self.spec, self.teacher.spec)
        self.placement.check()
        self.task.check()
        _ = self.spec.profile_steps
        for name in self.spec.reporting.trackers:
            registry.check_name(name, registry.names("reporting.trackers"), "reporting.trackers")
        check_eval_tasks(self.spec.eval, self.spec.objective.name, self.task.objective)
        _ = self.update.program, self.update.state_shardings  # building them checks them


def build_design(config: Any, devices: Sequence[Any] = (), simulated: str = "") -> Design:
    """The design of a resolved config for these devices.

    simulated: the kind of GPU that CPU devices simulate ("NVIDIA H100").
    """
    return Design(build_spec(config), Target(tuple(devices), simulated))
