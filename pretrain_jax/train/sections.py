"""Which functions take the keys of each section of a config.

The keys of a section are the keyword-only parameters of these functions, and nothing else.
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
Chosen = Mapping[str, Any]
CHOICES = (
    ("tokenizer", "name"),
    ("objective", "name"),
    ("model", "name"),
    ("optimizer", "name"),
    ("optimizer", "schedule"),
)
"""The keys that choose what takes the other keys of their section."""


def _tokenizer(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("text", chosen["name"], "tokenizer.name")
    found = registry.options(module.load, module.train)
    found.pop("vocab_size")  # model.vocab_size
    return {"name": NAME, "path": Option(str, ""), **found}


def _objective(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("objectives", chosen["name"], "objective.name")
    return {"name": NAME, **registry.options(module.build)}


def _model(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("models", chosen["name"], "model.name")
    return {
        "name": NAME,
        **registry.options(module.build, options.execution, options.attention_form),
    }


def _optimizer(chosen: Chosen) -> dict[str, Option]:
    optimizer = registry.pick(optimizers.OPTIMIZERS, chosen["name"], "optimizer.name")
    schedule = registry.pick(schedules.SCHEDULES, chosen["schedule"], "optimizer.schedule")
    found = registry.options(
        schedules.build_schedule, schedule, options.clipping, optimizers.build_optimizer, optimizer
    )
    return {"name": NAME, "schedule": NAME, **found}


SECTIONS: dict[str, Callable[[Chosen], dict[str, Option]]] = {
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


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A config as it was stored, with the defaults of keys that did not exist then.

    A default keeps what was before, or a row of code_version.CHANGES says what it changes: so a
    key that was added is no other configuration.
    """
    found = dict(stored)
    for section, known in SECTIONS.items():
        values = stored.get(section, {})
        if any(name not in values for owner, name in CHOICES if owner == section):
            continue  # nothing says which keys it has
        defaults = {key: option.default for key, option in known(values).items()}
        there = {key: value for key, value in defaults.items() if value is not REQUIRED}
        found[section] = {**there, **values}
    return found
