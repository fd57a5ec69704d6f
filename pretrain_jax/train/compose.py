"""The composition root: the only place that reads a config and hands its values to builders.

Two halves meet here. `Design` is what can be known without data and without allocating anything:
objective, model, optimizer, mesh, shapes and shardings (`describe` needs no more). `open_data` is
the host half: corpora, tokenizer, streams of rows.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from pretrain_jax import optim, registry
from pretrain_jax.batch import FIELDS
from pretrain_jax.data import pack
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.axes import placing
from pretrain_jax.layers.stacks import REMAT, Execution
from pretrain_jax.objectives import Objective
from pretrain_jax.optim import optimizers, schedules
from pretrain_jax.parallel import mesh as meshes
from pretrain_jax.parallel import rules
from pretrain_jax.train.step import Program, TrainState

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The section `data`."""

    source: str = "stdlib"
    """"stdlib", "text:GLOB" or "tfds:NAME"."""
    mixture: tuple = ()
    """((source, objective, rate), ...) instead of `source`; rates are shares of rows. An objective
    is a name, or a dict of its name and options."""
    mixing: str = "given"
    """"given" takes the rates of `mixture` as they are; "proportional" multiplies each by
    min(examples, mixing_cap)^(1 / mixing_temperature) of its source (T5, section 3.5.2)."""
    mixing_cap: int = 0
    """Most examples that count for a source; 0 = no limit."""
    mixing_temperature: float = 1.0
    seq_len: int
    """Tokens in a row of the text that is read: the memory's of an encoder-decoder, else the
    stream's."""
    split: str = "auto"
    """How validation text is held out: "hash" of documents, "tail" of each, or "auto"."""
    text_key: str = "text"
    """The field of a record that holds its text."""
    target_key: str = ""
    """For text_to_text: the field that holds the answer to the text of `text_key`."""
    spans_key: str = ""
    """For salient_spans: the field with [[start, end], ...] in characters; empty: found by rule."""
    cross_documents: bool = False
    """Whether attention and positions run on across the documents packed into a row."""
    cache_dir: str = ""
    """Where token caches live on this host; empty = ~/.cache/pretrain_jax."""
    workers: int = 0
    """Processes that make rows; 0 = a thread."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The section `train`."""

    steps: int
    batch_size: int
    """Rows of an update, over all hosts and microbatches."""
    accumulate: int = 1
    """Microbatches that an update is computed in, one after another, to save memory."""
    phases: tuple = ()
    """((from_step, {"seq_len": ..., "batch_size": ...}), ...): what changes during the run."""
    dtype: str = "auto"
    """Of matrix products: "float32", "bfloat16", or "auto" = bfloat16 on accelerators."""
    z_loss: float = 0.0
    """Coefficient of (log Z)^2; 1e-4 in PaLM and T5X."""
    deterministic: bool = False
    """Whether a GPU must repeat bit for bit (CPU and TPU always do)."""
    log_every: int = 10
    """Steps between lines of metrics."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The section `eval`."""

    every: int = 1000
    """Steps between evaluations; there is always one at the end. 0 = at the end alone."""
    tokens: int = 65536
    """Predicted text tokens to score."""
    sample_tokens: int = 128
    """Length of the sampled continuation at each evaluation; 0 = none."""
    pseudo_tokens: int = 0
    """For encoders: tokens that are masked one at a time for pseudo-perplexity; 0 = none."""


@dataclass(frozen=True)
class Phase:
    """Steps first .. last - 1 of a run have rows of `seq_len` and batches of `batch_size`."""

    first: int
    last: int
    seq_len: int
    batch_size: int


@dataclass(frozen=True)
class Member:
    """One member of the mixture (or the only source)."""

    source: str
    name: str
    """Of the objective."""
    objective: Objective
    rate: float


def device_half(objective: Objective) -> dict[str, Any]:
    """What members of a mixture must share, since one program trains on all their rows.

    Evaluations report the metrics of `objective.name`.
    """
    return {
        "fields": sorted(objective.fields),
        "attention": objective.attention,
        "heads": objective.heads,
        "methods": objective.methods,
        "loss": objective.loss,
        "coefficients": dict(objective.coefficients),
    }


def check_count(key: str, value: Any, least: int = 1) -> None:
    """Raises ConfigError unless a value is a whole number from `least` that fits 31 bits."""
    if not isinstance(value, int) or not least <= value < 2**31:
        raise ConfigError(
            f"{key} must be a whole number from {least} to 2^31 - 1; received {value!r}"
        )


def phases(data: DataOptions, train: TrainOptions) -> list[Phase]:
    """The phases of a run, in order: one when `train.phases` is empty.

    BERT's, 90 % of a million steps at length 128, is
    ((0, {"seq_len": 128}), (900_000, {"seq_len": 512})).
    """
    malformed = ConfigError(
        "train.phases is a list of (from_step, changes) with ascending steps, and only "
        f"seq_len and batch_size can change; received {train.phases}"
    )
    try:
        entries = [(operator.index(first), dict(changes)) for first, changes in train.phases]
    except (TypeError, ValueError):
        raise malformed from None
    if not entries or entries[0][0] != 0:
        entries = [(0, {}), *entries]
    found: list[Phase] = []
    seq_len, batch_size = data.seq_len, train.batch_size
    for number, (first, changes) in enumerate(entries):
        unknown = set(changes) - {"seq_len", "batch_size"}
        if unknown or first < 0 or (number and first <= entries[number - 1][0]):
            raise malformed
        seq_len = changes.get("seq_len", seq_len)
        batch_size = changes.get("batch_size", batch_size)
        check_count("data.seq_len, and every seq_len in train.phases,", seq_len)
        check_count("train.batch_size, and every batch_size in train.phases,", batch_size)
        last = entries[number + 1][0] if number + 1 < len(entries) else train.steps
        found.append(Phase(first, max(min(last, train.steps), first), seq_len, batch_size))
    return found


def execution(*, unroll: int = 1, remat: str = "none") -> dict[str, Any]:
    """The keys of the section `model` that belong to no architecture.

    unroll: layers in one turn of the loop over layers: faster steps for longer compilation.
    remat: "none", "dots" or "full", what the backward pass computes again to save memory.
    """
    registry.check_name(remat, REMAT, "model.remat")
    if unroll < 1:
        raise ConfigError(f"model.unroll must be at least 1; received {unroll}")
    return {"unroll": unroll, "remat": remat}


def clipping(*, clip_norm: float = 1.0) -> float:
    """The global norm that gradients are clipped to; 0 = no clipping."""
    if clip_norm < 0:
        raise ConfigError(
            f"optimizer.clip_norm must be 0 (no clipping) or more; received {clip_norm}"
        )
    return clip_norm


def own(section: Mapping[str, Any], *builders: Callable[..., Any]) -> dict[str, Any]:
    """The values of a section that these builders take."""
    return {key: section[key] for key in registry.options(*builders)}


def fix_schedule(config: Any, stored: Mapping[str, Any] | None = None) -> Any:
    """The config with `optimizer.decay_steps` fixed: 0 stands for the length of the first run.

    stored: the config that the workdir already belongs to, whose decay a resumed run keeps, so
    that a longer `train.steps` does not bend the past.
    """
    section = config.optimizer
    steps = section.decay_steps or (stored or {}).get("optimizer", {}).get("decay_steps", 0)
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        fixed.optimizer.decay_steps = schedules.resolve_decay_steps(
            decay_steps=steps, warmup_steps=section.warmup_steps, train_steps=config.train.steps
        )
    return fixed


READ_BY_MODELS = {"types", "prefix", "memory_tokens", "predict_at"}
"""Fields that change what a model computes; the others are read by losses and heads."""
WHY_NOT = {
    ("causal", "full"): ": what follows is in view, and so is every answer",
    ("full", "causal"): ": a masked token would be predicted from one side alone",
    ("prefix", "full"): ": what follows is in view, and so is every answer",
}


def hint(fields: Sequence[str]) -> str:
    """What to do with an encoder-decoder's objective on another model."""
    if "memory_tokens" not in fields:
        return ""
    return ". In one stack, use objective.inputs=prefix or objective.inputs=stream"


@dataclass(frozen=True, eq=False)
class Design:
    """Everything a config says that needs no data: built lazily, nothing allocated."""

    config: Any
    """The resolved config."""
    devices: tuple[Any, ...]
    """The jax devices that the mesh is made of."""

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
        return phases(self.data, self.train)

    @cached_property
    def objective(self) -> Objective:
        section = self.config.objective
        module = registry.load("objectives", section.name, "objective.name")
        return module.build(**own(section, module.build))

    @cached_property
    def members(self) -> list[Member]:
        """`data.source`, or the members of `data.mixture`; every one must fit the one model."""
        main = self.config.objective.name
        entries = self.data.mixture or ((self.data.source, main, 1.0),)
        found = [self._member(entry) for entry in entries]
        wanted = device_half(self.objective)
        for entry, member in zip(entries, found, strict=True):
            other = device_half(member.objective)
            differ = sorted(key for key in wanted if wanted[key] != other[key])
            if differ:
                raise ConfigError(
                    "members of a mixture share the device half of one objective; that of "
                    f"{entry[1]!r} differs from that of objective.name={main} in "
                    + "; ".join(f"{key}, {other[key]} instead of {wanted[key]}" for key in differ)
                )
        return found

    def _member(self, entry: Any) -> Member:
        if (
            len(entry) != 3
            or not isinstance(entry[1], str | Mapping)
            or not isinstance(entry[2], int | float)
            or entry[2] <= 0
        ):
            raise ConfigError(
                "data.mixture is a list of (source, objective, rate) with positive rates, where an "
                "objective is a name or {'name': ..., its options}; "
                f"received the member {entry!r}"
            )
        source, named, rate = entry
        if named == self.config.objective.name:
            return Member(source, named, self.objective, float(rate))
        given = {"name": named} if isinstance(named, str) else dict(named)
        name = given.pop("name", "")
        module = registry.load("objectives", name, "data.mixture's objective")
        known = registry.options(module.build)
        for key in given:
            registry.check_name(key, known, f"an option of the objective in {entry!r}")
        return Member(source, name, module.build(**given), float(rate))

    @cached_property
    def mesh(self) -> Mesh:
        return meshes.build(self.devices, **self.config.mesh)

    @cached_property
    def dtype(self) -> Any:
        name = self.train.dtype
        if name == "auto":
            name = "float32" if self.devices[0].platform == "cpu" else "bfloat16"
        return registry.pick(DTYPES, name, "train.dtype")

    @cached_property
    def architecture(self) -> Any:
        """The module of models/ that the config names."""
        return registry.load("models", self.config.model.name, "model.name")

    @cached_property
    def model(self) -> nn.Module:
        return self._build_model(platform=self.devices[0].platform)

    @cached_property
    def plain_model(self) -> nn.Module:
        """The same model without what suits one platform, and without rows that only pad the
        vocabulary: the form in which parameters and FLOPs are counted."""
        return self._build_model(platform="any", multiple=1)

    def _build_model(self, **how: Any) -> nn.Module:
        section, module = self.config.model, self.architecture
        self._check_shape(section)
        self._check_match(module)
        told = Execution(
            attention=self.objective.attention,
            heads=self.objective.heads,
            dtype=self.dtype,
            **execution(**own(section, execution)),
            **how,
        )
        return module.build(told, **own(section, module.build))

    def _check_shape(self, section: Any) -> None:
        """The numbers of the section `model` that can be wrong for every architecture."""
        for key in ("vocab_size", "layers", "width", "heads", "head_width", "feed_forward"):
            if key in section:
                check_count(f"model.{key}", section[key])
        if not 0 <= section.get("dropout", 0) < 1:
            raise ConfigError(
                f"model.dropout is a rate from 0 to below 1; received {section.dropout}"
            )
        width, heads = section.width, section.heads
        if not section.get("head_width") and width % heads:
            near = [n for n in range(1, width + 1) if width % n == 0]
            near = sorted(near, key=lambda n: abs(n - heads))[:2]
            raise ConfigError(
                f"model.width must be a multiple of model.heads; received width={width}, "
                f"heads={heads}. The nearest numbers of heads are {min(near)} and {max(near)}"
            )
        longest = max(phase.seq_len for phase in self.phases)
        table = section.get("max_length", longest)
        check_count("model.max_length", table)
        if longest > table:
            raise ConfigError(
                f"a sequence must fit the position table: data.seq_len (and every seq_len in "
                f"train.phases) is at most model.max_length; received {longest} and {table}. "
                f"Set model.max_length={longest} or data.seq_len={table}"
            )

    def _check_match(self, module: Any) -> None:
        """Objective and architecture, compared once: methods, attention, fields."""
        objective = self.objective
        misfit = (
            f"objective.name={self.config.objective.name} and model.name={self.config.model.name} "
            "do not fit: "
        )
        methods = getattr(module, "METHODS", ("__call__",))
        if objective.methods != methods:
            kinds = {("__call__",): "one model", ("generate", "discriminate"): "ELECTRA's two"}
            wanted, found = (kinds.get(m, ", ".join(m)) for m in (objective.methods, methods))
            raise ConfigError(f"{misfit}the objective trains {wanted}, the model is {found}")
        if objective.attention not in module.ATTENTION:
            why = WHY_NOT.get((objective.attention, module.ATTENTION[0]), "")
            raise ConfigError(
                f"{misfit}the objective needs {objective.attention} attention, "
                f"the model has {' or '.join(module.ATTENTION)}{why}"
            )
        unread = sorted(set(objective.fields) & READ_BY_MODELS - set(module.FIELDS))
        if unread:
            raise ConfigError(
                f"{misfit}the objective writes {', '.join(unread)}, which the model does not read"
                f"{hint(objective.fields)}"
            )
        if "types" in objective.fields and self.config.model.get("types", 2) < 2:
            raise ConfigError(
                f"{misfit}the objective writes segment types 0 and 1; "
                f"received model.types={self.config.model.types}"
            )
        missing = sorted(set(getattr(module, "NEEDS", ())) - set(objective.fields))
        if missing:
            raise ConfigError(
                f"{misfit}the model reads {', '.join(missing)}, which the objective does not write"
            )

    @cached_property
    def schedule(self) -> schedules.Schedule:
        section = self.config.optimizer
        named = registry.pick(schedules.SCHEDULES, section.schedule, "optimizer.schedule")
        return schedules.build_schedule(
            section.schedule, **own(section, schedules.build_schedule, named)
        )

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
        """Of the training step: a GPU repeats bit for bit when told to, the others always do."""
        on_gpu = self.devices[0].platform == "gpu"
        return {"xla_gpu_deterministic_ops": True} if self.train.deterministic and on_gpu else {}

    @cached_property
    def program(self) -> Program:
        coefficients = dict(self.objective.coefficients)
        if self.train.z_loss:
            coefficients["z_loss"] = self.train.z_loss
        return Program(
            apply=self.apply,
            loss=self.objective.loss,
            metrics=self.objective.metrics,
            coefficients=coefficients,
            optimizer=self.optimizer,
            schedule=self.schedule,
            clip_norm=clipping(**own(self.config.optimizer, clipping)),
            accumulate=self.train.accumulate,
            seed=self.config.seed,
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

    def batch_shapes(self, batch_size: int, seq_len: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the fields of a batch, made by `corrupt` and by the packer."""
        budgets = self.budgets(seq_len)
        axes = pack.axes_of(self.objective.fields)
        axes |= {
            name: axis
            for axis in axes.values()
            if axis in pack.PLACES
            for name in pack.PLACES[axis]
        }
        return {
            name: jax.ShapeDtypeStruct((batch_size, budgets[axis]), FIELDS[name].dtype)
            for name, axis in sorted(axes.items())
        }

    def check(self) -> None:
        """Raises ConfigError for whatever can be known to be wrong before data and compilation."""
        self.check_batches()
        _ = self.members
        _ = self.program, self.state_shardings  # building them checks them

    def check_batches(self) -> None:
        """Raises ConfigError unless the batch of every phase divides over microbatches and mesh."""
        for key, least in (("steps", 0), ("accumulate", 1), ("log_every", 1)):
            check_count(f"train.{key}", getattr(self.train, key), least)
        for key, least in (("every", 0), ("tokens", 1), ("sample_tokens", 0), ("pseudo_tokens", 0)):
            check_count(f"eval.{key}", getattr(self.eval, key), least)
        check_count("data.workers", self.data.workers, 0)
        for phase in self.phases:
            rules.check_batch(
                phase.batch_size, self.train.accumulate, self.mesh, "train.batch_size"
            )

    def init_params(self, model: nn.Module, seed: int) -> Any:
        """Parameters in boxes with the names of their axes; traced, or under jit."""
        shapes = self.batch_shapes(1, self.data.seq_len)
        batch = {name: jnp.zeros(s.shape, s.dtype) for name, s in shapes.items()}
        return model.init(jax.random.key(seed), batch, False)["params"]

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
        opt_state = optim.like_params(opt_shapes, self.param_shapes, params, whole)
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
    def batch_sharding(self) -> NamedSharding:
        return rules.batch_sharding(self.mesh)


def run(model: nn.Module, params: Any, batch: Any, rng: jax.Array, train: bool, method: str) -> Any:
    """A method of a Linen model as a pure function."""
    return model.apply({"params": params}, batch, train, method=method, rngs={"dropout": rng})


def is_box(x: Any) -> bool:
    """Whether a leaf of a tree is a parameter in its box."""
    return isinstance(x, nn.Partitioned)
