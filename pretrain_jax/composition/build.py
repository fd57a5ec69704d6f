"""The composition root: the only place that reads a config and hands its values to builders.

Two halves meet here. `Design` is what can be known without data and without allocating anything:
objective, model, optimizer, mesh, shapes and shardings (`describe` needs no more). The host half,
corpora, tokenizer and streams of rows, is feed.py's.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from pretrain_jax import registry, seeds
from pretrain_jax.batch import FIELDS
from pretrain_jax.composition import compatibility, spec
from pretrain_jax.composition.compatibility import Member
from pretrain_jax.composition.spec import DataOptions, EvalOptions, Phase, TrainOptions
from pretrain_jax.data import mixing, pack
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.axes import placing
from pretrain_jax.layers.stacks import Execution
from pretrain_jax.objectives import Objective
from pretrain_jax.optim import optimizers, schedules
from pretrain_jax.optim.trees import like_params
from pretrain_jax.sharding import mesh as meshes
from pretrain_jax.sharding import rules
from pretrain_jax.sharding.rows import Rows
from pretrain_jax.step import Program, TrainState, train_step
from pretrain_jax.xla import flags

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def own(section: Mapping[str, Any], *builders: Callable[..., Any]) -> dict[str, Any]:
    """The values of a section that these builders take."""
    return {key: section[key] for key in registry.options(*builders)}


def fix_schedule(config: Any, stored: Mapping[str, Any] | None = None) -> Any:
    """The config with `optimizer.decay_steps` fixed: 0 stands for the length of the first run.

    stored: the config that the workdir already belongs to, whose decay a resumed run keeps, so
    that a longer `train.steps` does not bend the past. Where the config names another decay, that
    is the one from now on (curve.py shows both).
    """
    section = config.optimizer
    steps = section.decay_steps or (stored or {}).get("optimizer", {}).get("decay_steps", 0)
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        fixed.optimizer.decay_steps = schedules.resolve_decay_steps(
            decay_steps=steps, warmup_steps=section.warmup_steps, train_steps=config.train.steps
        )
    return fixed


def schedule_of(section: Mapping[str, Any]) -> schedules.Schedule:
    """The schedule of a section `optimizer`."""
    name = section["schedule"]
    named = registry.pick(schedules.SCHEDULES, name, "optimizer.schedule")
    return schedules.build_schedule(name, **own(section, schedules.build_schedule, named))


@dataclass(frozen=True, eq=False)
class Design:
    """Everything a config says that needs no data: built lazily, nothing allocated."""

    config: Any
    """The resolved config."""
    devices: tuple[Any, ...]
    """The jax devices that the mesh is made of."""
    simulated: str = ""
    """The kind of GPU that CPU devices stand for ("NVIDIA H100"), where they do."""

    @property
    def platform(self) -> str:
        return "gpu" if self.simulated else self.devices[0].platform

    @property
    def device_kind(self) -> str:
        """As jax calls it: "TPU v5 lite", "cpu"."""
        return self.simulated or self.devices[0].device_kind

    @cached_property
    def data(self) -> DataOptions:
        return DataOptions(**self.config.data)

    @cached_property
    def train(self) -> TrainOptions:
        return TrainOptions(**self.config.train)

    @cached_property
    def eval(self) -> EvalOptions:
        return EvalOptions(**self.config.eval)

    @cached_property
    def phases(self) -> list[Phase]:
        return spec.phases(self.data, self.train)

    @property
    def phases_run(self) -> list[Phase]:
        """Those that a run of `train.steps` comes to; all of them where that is 0."""
        return [phase for phase in self.phases if phase.last > phase.first] or self.phases

    @property
    def eval_seq_len(self) -> int:
        """Of the rows of evaluations and samples: the length that training comes to."""
        return self.phases_run[-1].seq_len

    def phases_after(self, step: int) -> list[Phase]:
        """Those that are not at their end after `step` updates."""
        return [phase for phase in self.phases if phase.last > max(step, phase.first)]

    @property
    def largest_phase(self) -> Phase:
        """The one of `phases_run` with the most tokens in a microbatch."""
        rows = self.tokens_per_row
        return max(
            self.phases_run,
            key=lambda p: (p.batch_size // p.accumulate * rows(p.seq_len), p.batch_size),
        )

    @property
    def seq_lens(self) -> set[int]:
        """Every length of rows in this run: those of its phases, and that of its evaluations."""
        return {self.data.seq_len, *(phase.seq_len for phase in self.phases)}

    @cached_property
    def objective(self) -> Objective:
        section = self.config.objective
        module = registry.load("objectives", section.name, "objective.name")
        return module.build(**own(section, module.build))

    @cached_property
    def members(self) -> list[Member]:
        """The sources of text, each with its objective and rate."""
        return compatibility.members(self.config, self.objective)

    @cached_property
    def mesh(self) -> Mesh:
        return meshes.build(self.devices, **self.config.mesh)

    @cached_property
    def dtype(self) -> Any:
        name = self.train.dtype
        if name == "auto":
            name = "float32" if self.platform == "cpu" else "bfloat16"
        return registry.pick(DTYPES, name, "train.dtype")

    @cached_property
    def architecture(self) -> Any:
        """The module of models/ that the config names."""
        return registry.load("models", self.config.model.name, "model.name")

    @cached_property
    def model(self) -> nn.Module:
        section = own(self.config.model, spec.attention_form)
        form = spec.attention_form(**section, platform=self.devices[0].platform)
        return self._build_model(form="plain" if self.simulated else form)

    @cached_property
    def plain_model(self) -> nn.Module:
        """The same model without what suits one platform, and without rows that only pad the
        vocabulary: the form in which parameters and FLOPs are counted."""
        return self._build_model(form="plain", multiple=1)

    def _build_model(self, **how: Any) -> nn.Module:
        section, module = self.config.model, self.architecture
        spec.check_shape(section, max(self.seq_lens))
        compatibility.check_match(self.config, self.objective, module)
        told = Execution(
            attention=self.objective.attention,
            heads=self.objective.heads,
            dtype=self.dtype,
            z_loss=self.train.z_loss,
            one_text=self.data.cross_documents,
            **spec.execution(
                self.devices[0].platform, section.layers, **own(section, spec.execution)
            ),
            **how,
        )
        return module.build(told, **own(section, module.build))

    @cached_property
    def schedule(self) -> schedules.Schedule:
        return schedule_of(self.config.optimizer)

    @cached_property
    def optimizer(self) -> Any:
        section = self.config.optimizer
        named = registry.pick(optimizers.OPTIMIZERS, section.name, "optimizer.name")
        axes = jax.tree.map(lambda box: box.names, self.boxed_params, is_leaf=is_box)
        return optimizers.build_optimizer(
            section.name, self.schedule, axes, **own(section, optimizers.build_optimizer, named)
        )

    @property
    def compiler_options(self) -> dict[str, Any]:
        """Of the training step."""
        dropping = self.config.model.get("dropout", 0.0) > 0
        return flags.of_step(self.devices[0].platform, dropping, self.train.deterministic)

    @cached_property
    def program(self) -> Program:
        coefficients = dict(self.objective.coefficients)
        if self.train.z_loss:
            # What losses.weighted_sums differentiates: the two sums as one.
            coefficients["z_loss"] = self.train.z_loss * coefficients["loss"]
        return Program(
            apply=self.apply,
            loss=self.objective.loss,
            metrics=self.objective.metrics,
            coefficients=coefficients,
            optimizer=self.optimizer,
            schedule=self.schedule,
            clip_norm=spec.clipping(**own(self.config.optimizer, spec.clipping)),
            accumulate=self.train.accumulate,
            seed=self.config.seed,
            dtype=self.dtype,
        )

    @cached_property
    def programs(self) -> dict[Phase, Program]:
        """The program of each phase."""
        return {p: dataclasses.replace(self.program, accumulate=p.accumulate) for p in self.phases}

    @cached_property
    def step_function(self) -> Any:
        """step_function(state, batch, program) -> (state, metrics), compiled at its first call."""
        return jax.jit(
            train_step,
            static_argnums=2,
            donate_argnums=0,
            # What goes in comes out: otherwise the compiler may split a leaf of the optimizer's
            # state in another way, and the second step would be compiled again.
            out_shardings=(self.state_shardings, rules.replicated(self.mesh)),
            compiler_options=self.compiler_options,
        )

    def apply(
        self, params: Any, batch: Any, rng: jax.Array, train: bool, method: str = "__call__"
    ) -> Any:
        """The model as a function of parameters, with activations placed on the mesh."""
        with placing(rules.Placement(self.mesh)):
            return self.apply_unplaced(params, batch, rng, train, method)

    def apply_unplaced(
        self, params: Any, batch: Any, rng: jax.Array, train: bool, method: str = "__call__"
    ) -> Any:
        """The same without a mesh: to count what one device's share of a batch takes."""
        return run(self.model, params, batch, rng, train, method)

    def apply_plain(
        self, params: Any, batch: Any, rng: jax.Array, train: bool, method: str = "__call__"
    ) -> Any:
        """The same with `plain_model`: to count FLOPs."""
        return run(self.plain_model, params, batch, rng, train, method)

    # --- shapes -----------------------------------------------------------------------------

    def budgets(self, seq_len: int) -> dict[str, int]:
        """Length of each axis of a row: room for every member of the mixture."""
        found: dict[str, int] = {}
        for member in self.members:
            for axis, size in member.objective.budgets(seq_len).items():
                found[axis] = max(found.get(axis, 0), int(size))
        return found

    def tokens_per_row(self, seq_len: int) -> int:
        """Slots of a row that hold tokens: of the stream, and of the memory where there is one."""
        budgets = self.budgets(seq_len)
        return budgets["L"] + budgets.get("M", 0)

    @cached_property
    def fields(self) -> dict[str, str]:
        """The fields of a batch with their axes: those that `corrupt` writes, and the packer's."""
        axes = pack.axes_of(self.objective.fields)
        places = {n: axis for axis in axes.values() for n in pack.PLACES.get(axis, ())}
        return dict(sorted((axes | places).items()))

    def batch_shapes(self, batch_size: int, seq_len: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the fields of a batch, made by `corrupt` and by the packer."""
        budgets = self.budgets(seq_len)
        return {
            name: jax.ShapeDtypeStruct((batch_size, budgets[axis]), FIELDS[name].dtype)
            for name, axis in self.fields.items()
        }

    def check(self) -> None:
        """Raises ConfigError for whatever can be known to be wrong before data and compilation."""
        self.check_batches()
        self.check_data()
        _ = self.program, self.state_shardings  # building them checks them

    def check_batches(self) -> None:
        """Raises ConfigError unless the batch of every phase divides over microbatches and mesh."""
        for phase in self.phases:
            rules.check_batch(phase.batch_size, phase.accumulate, self.mesh, "train.batch_size")
        for seq_len in sorted(self.seq_lens):
            for axis in rules.LENGTHS:
                slots = self.budgets(seq_len).get(axis, 0)
                rules.check_length(slots, self.mesh, f"axis {axis} at data.seq_len={seq_len}")

    def check_data(self) -> None:
        """Raises ConfigError for options of the section `data` that no member of it can follow."""
        for member in self.members:
            for seq_len in self.seq_lens:
                member.objective.arrange(seq_len)
            if self.data.cross_documents and not member.objective.crosses:
                raise ConfigError(
                    "data.cross_documents makes a row one text, which objective "
                    f"{member.name} cannot be given; received data.cross_documents=True"
                )
        # Sizes are known with the data.
        rates, sizes = [member.rate for member in self.members], [1] * len(self.members)
        cap, temperature = self.data.mixing_cap, self.data.mixing_temperature
        mixing.rates(self.data.mixing, rates, sizes, cap=cap, temperature=temperature)
        read = {member.objective.marks for member in self.members}
        for marks, key in (("targets", "target_key"), ("spans", "spans_key")):
            if getattr(self.data, key) and marks not in read:
                raise ConfigError(
                    f"data.{key} is read by objectives over marked {marks}, and none is here; "
                    f"received data.{key}={getattr(self.data, key)!r}. Leave it empty"
                )
        if self.eval.pseudo_tokens and self.objective.probes is None:
            raise ConfigError(
                "eval.pseudo_tokens is for encoders, which can mask one token with all others in "
                f"view; objective.name={self.config.objective.name} cannot. Set it to 0"
            )

    def init_params(self, model: nn.Module, seed: int) -> Any:
        """Parameters in boxes with the names of their axes; traced, or under jit."""
        shapes = self.batch_shapes(1, self.data.seq_len)
        batch = {name: jnp.zeros(s.shape, s.dtype) for name, s in shapes.items()}
        return model.init(seeds.key(seed), batch, False)["params"]

    @cached_property
    def boxed_params(self) -> Any:
        """Shapes of the parameters, in boxes."""
        return jax.eval_shape(lambda: self.init_params(self.model, 0))

    @cached_property
    def plain_params(self) -> Any:
        """Shapes of the parameters of `plain_model`, in boxes."""
        return jax.eval_shape(lambda: self.init_params(self.plain_model, 0))

    @cached_property
    def param_shapes(self) -> Any:
        return nn.meta.unbox(self.boxed_params)

    @cached_property
    def state_shardings(self) -> Any:
        """Where every leaf of the state lives; raises ConfigError where an axis does not divide."""
        params = rules.shardings(self.boxed_params, self.mesh)
        whole = rules.replicated(self.mesh)
        opt_shapes = jax.eval_shape(self.optimizer.init, self.param_shapes)
        opt_state = like_params(opt_shapes, self.param_shapes, params, whole)
        step: Any = whole
        return TrainState(step=step, params=params, opt_state=opt_state)

    @cached_property
    def abstract_state(self) -> TrainState:
        """Shapes with shardings: what a checkpoint is restored onto."""
        shapes = jax.eval_shape(self._fresh_state)
        return jax.tree.map(
            lambda shape, sharding: jax.ShapeDtypeStruct(
                shape.shape, shape.dtype, sharding=sharding
            ),
            shapes,
            self.state_shardings,
        )

    def _fresh_state(self) -> TrainState:
        params = nn.meta.unbox(self.init_params(self.model, self.config.seed))
        opt_state = self.optimizer.init(params)
        return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=opt_state)

    def init_state(self) -> TrainState:
        """The state before the first update, every array made on the devices that hold it."""
        return jax.jit(self._fresh_state, out_shardings=self.state_shardings)()

    @cached_property
    def rows(self) -> Rows:
        """Where the fields of a batch live."""
        return Rows({n: rules.field_sharding(self.mesh, axis) for n, axis in self.fields.items()})


def run(model: nn.Module, params: Any, batch: Any, rng: jax.Array, train: bool, method: str) -> Any:
    """A method of a Linen model as a pure function."""
    return model.apply({"params": params}, batch, train, method=method, rngs={"dropout": rng})


def is_box(x: Any) -> bool:
    """Whether a leaf of a tree is a parameter in its box."""
    return isinstance(x, nn.Partitioned)
