"""Checks that an objective fits the architecture, and that objectives fit in one mixture."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain_jax import registry
from pretrain_jax.batch import FIELDS
from pretrain_jax.composition import ranges
from pretrain_jax.data import baselines
from pretrain_jax.errors import ConfigError, short_repr
from pretrain_jax.models import _base
from pretrain_jax.models._base import ATTENTIONS, Architecture
from pretrain_jax.objectives import Objective
from pretrain_jax.tokenizers import SPECIAL_NAMES

MODEL_FIELDS = {"types", "prefix", "memory_tokens", "predict_at"}
"""Fields that change what a model computes; only losses and heads read the others."""
WHY_NOT = {
    ("causal", "full"): ": each position would see its own target",
    ("full", "causal"): ": a masked token would be predicted from its left context only",
    ("prefix", "full"): ": each position would see its own target",
}


def hint(fields: Sequence[str]) -> str:
    """How to use an encoder-decoder objective with another model."""
    if "memory_tokens" not in fields:
        return ""
    return ". In one stack, use objective.inputs=prefix or objective.inputs=stream"


def check_task(name: str, task: Any, objective: Objective, family: str) -> None:
    """Raises ConfigError for a task (tasks/_base.Task) whose answers a model cannot generate.

    family: the model as messages name it.
    """
    if task.needs == "answers" and not objective.generates:
        raise ConfigError(
            f"task {name} needs a model that generates, a decoder or an encoder-decoder; this "
            f"model is {family}"
        )


def check_eval_tasks(options: Any, name: str, objective: Objective) -> None:
    """Raises ConfigError unless a model of an objective can be asked the tasks of `eval.tasks`.

    options: the section `eval`. name: of the objective.
    """
    needing = []
    for task in options.tasks:
        needs = registry.load("tasks", task, "eval.tasks").TASK
        if needs.read_corpus is not None:
            raise ConfigError(
                f"task {task} reads the training text, which evaluations during training do not; "
                "leave it out of eval.tasks, and evaluate the finished run with "
                "python -m pretrain_jax.evaluate"
            )
        if objective.prompt is None or not objective.predicts_tokens:
            raise ConfigError(
                f"eval.tasks needs a model that predicts tokens; objective.name={name} trains "
                "another. Leave it out"
            )
        check_task(task, needs, objective, f"one with objective.name={name}")
        needing += [task] if needs.read is not None else []
    if needing and not options.tasks_data:
        raise ConfigError(
            f"eval.tasks_data must name the folder with the data of {', '.join(needing)}; it is "
            "empty"
        )


def check_match(config: Any, objective: Objective, architecture: Architecture) -> None:
    """Raises ConfigError unless methods, attention and fields of both match."""
    misfit = (
        f"objective.name={config.objective.name} and model.name={config.model.name} do not fit: "
    )
    methods = architecture.methods if objective.predicts_tokens else ("__call__",)
    if objective.model_methods != methods:
        kinds = {("__call__",): "one model", ("generate", "discriminate"): "ELECTRA's two"}
        needed, present = (kinds.get(m, ", ".join(m)) for m in (objective.model_methods, methods))
        raise ConfigError(f"{misfit}the objective trains {needed}, the model is {present}")
    if objective.attention not in architecture.attention:
        why = WHY_NOT.get((objective.attention, architecture.attention[0]), "")
        raise ConfigError(
            f"{misfit}the objective needs {objective.attention} attention, "
            f"the model has {' or '.join(architecture.attention)}{why}"
        )
    unread = sorted(set(objective.fields) & MODEL_FIELDS - set(architecture.fields))
    if unread:
        raise ConfigError(
            f"{misfit}the objective writes {', '.join(unread)}, which the model does not read"
            f"{hint(objective.fields)}"
        )
    if "types" in objective.fields and config.model.get("types", 2) < 2:
        raise ConfigError(
            f"{misfit}the objective writes segment types 0 and 1; "
            f"received model.types={config.model.types}"
        )
    missing = sorted(set(architecture.required_fields) - set(objective.fields))
    if missing:
        raise ConfigError(
            f"{misfit}the model reads {', '.join(missing)}, which the objective does not write"
        )


@dataclass(frozen=True)
class MixtureMember:
    """One member of the mixture (or the only source)."""

    source: str
    name: str
    """Name of the objective."""
    options: Mapping[str, Any]
    """Options of the objective that the mixture sets."""
    objective: Objective
    rate: float

    def __str__(self) -> str:
        """The member in the words of the config: "span_corruption(rate=0.5) on stdlib"."""
        given = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return (
            f"{self.name}({given}) on {self.source}" if given else f"{self.name} on {self.source}"
        )


def build_objective(
    name: str, build: Callable[..., Any], options: Mapping[str, Any], model: Architecture
) -> Objective:
    """The objective of a module, for an architecture. Raises ConfigError if it is not one, or names
    what is unknown."""
    try:
        objective = call_build(build, options, model)
    except TypeError as error:
        raise ConfigError(
            f"build of objectives/{name}.py must return an Objective; it ended with {error}"
        ) from error
    if not isinstance(objective, Objective):
        raise ConfigError(
            f"build of objectives/{name}.py must return an Objective; received "
            f"{short_repr(objective)}"
        )
    for field, known in (
        ("fields", FIELDS),
        ("special_tokens", SPECIAL_NAMES),
        ("baselines", baselines.NAMES),
    ):
        for value in getattr(objective, field):
            registry.check_name(value, known, f"every entry of {field} in objectives/{name}.py")
    registry.check_name(objective.attention, ATTENTIONS, f"attention in objectives/{name}.py")
    return objective


def call_build(build: Callable[..., Any], options: Mapping[str, Any], model: Architecture) -> Any:
    """build(**options), or build(model, **options) where it depends on the architecture."""
    return build(model, **options) if takes_model(build) else build(**options)


def takes_model(build: Callable[..., Any]) -> bool:
    """Whether a builder of objectives has a positional parameter, the architecture."""
    kinds = [parameter.kind for parameter in inspect.signature(build).parameters.values()]
    return inspect.Parameter.POSITIONAL_OR_KEYWORD in kinds


def shared_properties(objective: Objective) -> dict[str, Any]:
    """Properties that all members of a mixture must share, since one program trains on their rows.

    Evaluations report the metrics of `objective.name`.
    """
    return {
        "fields": sorted(objective.fields),
        "attention": objective.attention,
        "heads": objective.heads,
        "model_methods": objective.model_methods,
        "loss": objective.loss,
        "coefficients": dict(objective.coefficients),
    }


def build_members(config: Any, objective: Objective) -> list[MixtureMember]:
    """The members of `data.mixture`, or `data.source` as the only one.

    objective: that of the section `objective`. Raises ConfigError for a member whose
    `shared_properties` differ from it.
    """
    main = config.objective.name
    entries = config.data.mixture or ((config.data.source, main, 1.0),)
    model = _base.load(config.model.name)
    members = [build_member(entry, main, objective, model) for entry in entries]
    expected = shared_properties(objective)
    for entry, member in zip(entries, members, strict=True):
        actual = shared_properties(member.objective)
        differing = sorted(key for key in expected if expected[key] != actual[key])
        if differing:
            raise ConfigError(
                "all members of a mixture train in one step and must share its properties; "
                f"{entry[1]!r} differs from objective.name={main} in "
                + "; ".join(f"{key}, {actual[key]} instead of {expected[key]}" for key in differing)
            )
    return members


def build_member(entry: Any, main: str, objective: Objective, model: Architecture) -> MixtureMember:
    """The member of one entry of `data.mixture`; `objective` is the one called `main`."""
    kinds = (str, str | Mapping, int | float)
    if (
        not isinstance(entry, list | tuple)
        or len(entry) != 3
        or not all(isinstance(value, kind) for value, kind in zip(entry, kinds, strict=True))
        or isinstance(entry[2], bool)
        or not 0 < entry[2] <= sys.float_info.max
    ):
        raise ConfigError(
            "data.mixture must be a list of (source, objective, rate) with positive rates; an "
            "objective is a name or {'name': ..., its options}; "
            f"received the member {short_repr(entry)}"
        )
    source, named, rate = entry
    if named == main:
        return MixtureMember(source, named, {}, objective, float(rate))
    given = {"name": named} if isinstance(named, str) else dict(named)
    name = given.pop("name", "")
    module = registry.load("objectives", name, "the objective in data.mixture")
    known = registry.options(module.build)
    for key, value in given.items():
        registry.check_name(key, known, f"an option of the objective in {entry!r}")
        named = f"{key} in data.mixture"
        value = registry.coerce(named, value, known[key].type)
        given[key] = ranges.check(f"objective.{key}", value, named, known[key].range)
    objective = build_objective(name, module.build, given, model)
    return MixtureMember(source, name, given, objective, float(rate))
