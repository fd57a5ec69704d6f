"""The keys of a config: those of each section, and those of none.

The keys of a section are the keyword-only parameters of the functions that it is handed to.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pretrain_jax import registry
from pretrain_jax.optim import optimizers, schedules
from pretrain_jax.parallel import mesh
from pretrain_jax.registry import REQUIRED, Option
from pretrain_jax.train import options
from pretrain_jax.train.checkpoint import Checkpoints

NAME = Option(str, REQUIRED)
TOP = {"seed": Option(int, 0), "init_from": Option(str, ""), "init_tokens": Option(str, "same")}
"""init_from and init_tokens are read by inherit.py."""


def section_options(section: str, chosen: Mapping[str, Any]) -> dict[str, Option]:
    """The keys of a section, given the names chosen in it."""
    return SECTIONS[section](chosen)


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A config from disk, with the defaults of the keys that are newer than it.

    >>> completed({"train": {"steps": 10, "batch_size": 8}})["train"]["accumulate"]
    1
    """
    whole: dict[str, Any] = {**defaults(TOP), **stored}
    for section in SECTIONS:
        if section in stored:
            given = stored[section]
            whole[section] = {**defaults(section_options(section, given)), **given}
    return whole


def defaults(known: Mapping[str, Option]) -> dict[str, Any]:
    """The defaults of those keys that have one."""
    return {key: o.default for key, o in known.items() if o.default is not REQUIRED}


def _tokenizer(chosen: Mapping[str, Any]) -> dict[str, Option]:
    module = registry.load("text", chosen["name"], "tokenizer.name")
    found = registry.options(module.load, module.train)
    found.pop("vocab_size")  # model.vocab_size
    return {"name": NAME, "path": Option(str, ""), **found}


def _objective(chosen: Mapping[str, Any]) -> dict[str, Option]:
    module = registry.load("objectives", chosen["name"], "objective.name")
    return {"name": NAME, **registry.options(module.build)}


def _model(chosen: Mapping[str, Any]) -> dict[str, Option]:
    module = registry.load("models", chosen["name"], "model.name")
    return {
        "name": NAME,
        **registry.options(module.build, options.execution, options.attention_form),
    }


def _optimizer(chosen: Mapping[str, Any]) -> dict[str, Option]:
    optimizer = registry.pick(optimizers.OPTIMIZERS, chosen["name"], "optimizer.name")
    schedule = registry.pick(schedules.SCHEDULES, chosen["schedule"], "optimizer.schedule")
    found = registry.options(
        schedules.build_schedule, schedule, options.clipping, optimizers.build_optimizer, optimizer
    )
    return {"name": NAME, "schedule": NAME, **found}


SECTIONS: dict[str, Callable[[Mapping[str, Any]], dict[str, Option]]] = {
    "data": lambda _: registry.options(options.DataOptions),
    "tokenizer": _tokenizer,
    "objective": _objective,
    "model": _model,
    "optimizer": _optimizer,
    "mesh": lambda _: registry.options(mesh.build),
    "train": lambda _: registry.options(options.TrainOptions),
    "checkpoint": lambda _: registry.options(Checkpoints),
    "eval": lambda _: registry.options(options.EvalOptions),
}
