"""The state of a run and its update: optimizer, schedule, and the training step."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax import registry
from pretrain_jax.composition.phases import Phase
from pretrain_jax.composition.placement import Placement, with_shardings
from pretrain_jax.composition.spec import Spec, select_kwargs
from pretrain_jax.composition.task import Task
from pretrain_jax.layers.axes import is_box
from pretrain_jax.objectives.distill import TEACHER
from pretrain_jax.optim import optimizers, schedules
from pretrain_jax.optim.clipping import clip_options
from pretrain_jax.optim.trees import like_params
from pretrain_jax.sharding import rules
from pretrain_jax.step import Program, TrainState, train_step
from pretrain_jax.xla import flags


def build_schedule(section: Mapping[str, Any]) -> schedules.Schedule:
    """The schedule of a section `optimizer`."""
    name = section["schedule"]
    builder = registry.pick(schedules.SCHEDULES, name, "optimizer.schedule")
    kwargs = select_kwargs(section, schedules.build_schedule, builder)
    return schedules.build_schedule(name, **kwargs)


def no_predictions(*_: Any) -> dict[str, Any]:
    """What an objective without labels predicts of examples."""
    return {}


@dataclass(frozen=True, eq=False)
class Update:
    """The training step of a run, and the state that the step updates."""

    spec: Spec
    task: Task
    placement: Placement
    teacher: Placement | None = None
    """Where the teacher's parameters are, for objective distill."""

    @cached_property
    def schedule(self) -> schedules.Schedule:
        """The learning rate as a function of the step."""
        return build_schedule(self.spec.optimizer)

    @cached_property
    def optimizer(self) -> Any:
        section = self.spec.optimizer
        builder = registry.pick(optimizers.OPTIMIZERS, section.name, "optimizer.name")
        trained, _ = self.placement.model.split(self.placement.model.boxed_params)
        axes = jax.tree.map(lambda box: box.names, trained, is_leaf=is_box)
        return optimizers.build_optimizer(
            section.name,
            self.schedule,
            axes,
            **select_kwargs(section, optimizers.build_optimizer, builder),
        )

    @cached_property
    def program(self) -> Program:
        objective = self.task.objective
        coefficients = dict(objective.coefficients)
        loss = partial(objective.loss, self.teacher.apply) if self.teacher else objective.loss
        if self.spec.train.z_loss:
            # losses.weighted_sums differentiates the weighted sum of both.
            coefficients["z_loss"] = self.spec.train.z_loss * coefficients["loss"]
        return Program(
            apply=self.placement.apply,
            loss=loss,
            metrics=objective.metrics,
            coefficients=coefficients,
            optimizer=self.optimizer,
            schedule=self.schedule,
            clip_norm=clip_options(**select_kwargs(self.spec.optimizer, clip_options)),
            accumulate=self.spec.train.accumulate,
            seed=self.spec.seed,
            predict=task.predict if (task := objective.example_task) else no_predictions,
            dtype=self.placement.model.dtype,
        )

    @cached_property
    def programs(self) -> dict[Phase, Program]:
        """The program of each phase."""
        return {
            p: dataclasses.replace(self.program, accumulate=p.accumulate) for p in self.spec.phases
        }

    @property
    def compiler_options(self) -> dict[str, Any]:
        """XLA options of the training step."""
        platform, dropout = self.placement.target.compiled_platform, self.spec.model.get("dropout")
        return flags.step_options(platform, bool(dropout), self.spec.train.deterministic)

    @cached_property
    def step(self) -> Any:
        """step(state, batch, program, frozen) -> (state, metrics): `train_step`, jitted for the
        mesh."""
        return jax.jit(
            train_step,
            static_argnums=2,
            donate_argnums=0,
            # The output has the sharding of the input. Otherwise the compiler may choose another
            # one for a leaf of the optimizer's state, and the second step would compile again.
            out_shardings=(self.state_shardings, rules.replicated(self.placement.mesh)),
            compiler_options=self.compiler_options,
        )

    def abstract_arguments(self, phase: Phase) -> tuple[TrainState, Any, Program, Any]:
        """The arguments of `step` in a phase, with shapes and shardings in place of arrays.

        Every compilation uses them: `step.trace(*abstract_arguments(phase)).lower().compile()`.
        """
        batch = self.placement.batch(phase.batch_size, phase.seq_len)
        return self.abstract_state, batch, self.programs[phase], self.abstract_frozen

    @cached_property
    def state_shardings(self) -> TrainState:
        """The sharding of every leaf of the state. Raises ConfigError if an axis does not
        divide."""
        model = self.placement.model
        params, _ = model.split(self.placement.param_shardings)
        shapes, _ = model.split(model.param_shapes)
        replicated: Any = rules.replicated(self.placement.mesh)
        opt_shapes = jax.eval_shape(self.optimizer.init, shapes)
        opt_state = like_params(opt_shapes, shapes, params, replicated)
        return TrainState(step=replicated, params=params, opt_state=opt_state)

    @cached_property
    def abstract_state(self) -> TrainState:
        """Shapes of the state with their shardings, to restore a checkpoint onto."""
        return with_shardings(jax.eval_shape(self._fresh_state), self.state_shardings)

    @cached_property
    def abstract_frozen(self) -> Any:
        """Shapes of the parameters that do not train, with their shardings: those of an adapter's
        base, and those of a teacher."""
        _, base = self.placement.model.split(self.placement.params)
        return {**base, TEACHER: self.teacher.params} if self.teacher else base

    def init_state(self) -> TrainState:
        """The state before the first update; each array is created on the devices that hold it."""
        return jax.jit(self._fresh_state, out_shardings=self.state_shardings)()

    def init_params(self) -> Any:
        """All initial parameters, also those that do not train."""
        init = lambda: nn.meta.unbox(self.placement.model.init(self.spec.seed))  # noqa: E731
        return jax.jit(init, out_shardings=self.placement.param_shardings)()

    def _fresh_state(self) -> TrainState:
        model = self.placement.model
        params, _ = model.split(nn.meta.unbox(model.init(self.spec.seed)))
        opt_state = self.optimizer.init(params)
        return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=opt_state)
