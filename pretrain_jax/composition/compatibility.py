"""Which objectives go with which architecture, and with one another in a mixture."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import ranges
from pretrain_jax.errors import ConfigError, short_repr
from pretrain_jax.models._base import Architecture
from pretrain_jax.objectives import Objective

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


def check_match(config: Any, objective: Objective, architecture: Architecture) -> None:
    """Raises ConfigError unless objective and architecture fit: methods, attention, fields."""
    misfit = (
        f"objective.name={config.objective.name} and model.name={config.model.name} do not fit: "
    )
    methods = architecture.methods
    if objective.model_methods != methods:
        kinds = {("__call__",): "one model", ("generate", "discriminate"): "ELECTRA's two"}
        wanted, found = (kinds.get(m, ", ".join(m)) for m in (objective.model_methods, methods))
        raise ConfigError(f"{misfit}the objective trains {wanted}, the model is {found}")
    if objective.attention not in architecture.attention:
        why = WHY_NOT.get((objective.attention, architecture.attention[0]), "")
        raise ConfigError(
            f"{misfit}the objective needs {objective.attention} attention, "
            f"the model has {' or '.join(architecture.attention)}{why}"
        )
    unread = sorted(set(objective.fields) & READ_BY_MODELS - set(architecture.fields))
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
class Member:
    """One member of the mixture (or the only source)."""

    source: str
    name: str
    """Of the objective."""
    options: Mapping[str, Any]
    """Of the objective, as the mixture gives them."""
    objective: Objective
    rate: float

    def __str__(self) -> str:
        """As the config names it: "span_corruption(rate=0.5) on stdlib"."""
        given = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return (
            f"{self.name}({given}) on {self.source}" if given else f"{self.name} on {self.source}"
        )


def device_half(objective: Objective) -> dict[str, Any]:
    """What members of a mixture must share, since one program trains on all their rows.

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


def members(config: Any, objective: Objective) -> list[Member]:
    """`data.source`, or the members of `data.mixture`; all must fit the device half of `objective`,
    the one that the section `objective` names. Raises ConfigError.
    """
    main = config.objective.name
    entries = config.data.mixture or ((config.data.source, main, 1.0),)
    found = [member_of(entry, main, objective) for entry in entries]
    wanted = device_half(objective)
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


def member_of(entry: Any, main: str, objective: Objective) -> Member:
    kinds = (str, str | Mapping, int | float)
    if (
        not isinstance(entry, list | tuple)
        or len(entry) != 3
        or not all(isinstance(value, kind) for value, kind in zip(entry, kinds, strict=True))
        or isinstance(entry[2], bool)
        or not 0 < entry[2] <= sys.float_info.max
    ):
        raise ConfigError(
            "data.mixture is a list of (source, objective, rate) with positive rates, where an "
            "objective is a name or {'name': ..., its options}; "
            f"received the member {short_repr(entry)}"
        )
    source, named, rate = entry
    if named == main:
        return Member(source, named, {}, objective, float(rate))
    given = {"name": named} if isinstance(named, str) else dict(named)
    name = given.pop("name", "")
    module = registry.load("objectives", name, "data.mixture's objective")
    known = registry.options(module.build)
    for key, value in given.items():
        registry.check_name(key, known, f"an option of the objective in {entry!r}")
        named = f"data.mixture's {key}"
        value = registry.coerce(named, value, known[key].type)
        given[key] = ranges.check(f"objective.{key}", value, named, known[key].range)
    return Member(source, name, given, module.build(**given), float(rate))
