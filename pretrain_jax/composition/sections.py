"""Which functions take the keys of each section of a config.

The keys of a section are the keyword-only parameters of these functions, and nothing else.

Keys that no builder takes, described here for the reference of config keys:

seed: seed of the run: initial parameters, the order of the data, noise and dropout follow from it
init_from: workdir of another run; this run begins with its parameters, step 0 and a new schedule
init_tokens: tokenizer of a run with init_from: "same" copies the other run's; "shared" uses this
    run's own and keeps the parameters of tokens that both spell alike
name: what the other keys of the section belong to
schedule: name of the learning-rate schedule
path: file or folder of a published vocabulary to use instead of learning one; empty = learn one
    from the run's own text
"""

from collections.abc import Callable, Mapping
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import spec
from pretrain_jax.models import _base
from pretrain_jax.optim import optimizers, schedules
from pretrain_jax.registry import REQUIRED, Option
from pretrain_jax.sharding import mesh
from pretrain_jax.workdir.checkpoint import Checkpoints

NAME = Option(str, REQUIRED)
Chosen = Mapping[str, Any]
TOP = {"seed": Option(int, 0), "init_from": Option(str, ""), "init_tokens": Option(str, "same")}
"""Keys of no section; inherit.py says what init_tokens is."""
CHOICES = (
    ("tokenizer", "name"),
    ("objective", "name"),
    ("model", "name"),
    ("optimizer", "name"),
    ("optimizer", "schedule"),
)
"""The keys that choose what takes the other keys of their section."""


def _tokenizer(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("tokenizers", chosen["name"], "tokenizer.name")
    found = registry.options(module.load, module.train)
    found.pop("vocab_size")  # model.vocab_size
    return {"name": NAME, "path": Option(str, ""), **found}


def _objective(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("objectives", chosen["name"], "objective.name")
    return {"name": NAME, **registry.options(module.build)}


def _model(chosen: Chosen) -> dict[str, Option]:
    architecture = _base.load(chosen["name"])
    return {
        "name": NAME,
        **registry.options(architecture.build, spec.execution, spec.attention_form),
    }


def _optimizer(chosen: Chosen) -> dict[str, Option]:
    optimizer = registry.pick(optimizers.OPTIMIZERS, chosen["name"], "optimizer.name")
    schedule = registry.pick(schedules.SCHEDULES, chosen["schedule"], "optimizer.schedule")
    found = registry.options(
        schedules.build_schedule, schedule, spec.clipping, optimizers.build_optimizer, optimizer
    )
    return {"name": NAME, "schedule": NAME, **found}


SECTIONS: dict[str, Callable[[Chosen], dict[str, Option]]] = {
    "data": lambda _: registry.options(spec.DataOptions),
    "tokenizer": _tokenizer,
    "objective": _objective,
    "model": _model,
    "optimizer": _optimizer,
    "mesh": lambda _: registry.options(mesh.build),
    "train": lambda _: registry.options(spec.TrainOptions),
    "checkpoint": lambda _: registry.options(Checkpoints),
    "eval": lambda _: registry.options(spec.EvalOptions),
}


def section_options(section: str, chosen: Chosen) -> dict[str, Option]:
    """The keys of a section, given the names chosen in it."""
    return SECTIONS[section](chosen)


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A config as it was stored, with the defaults of keys that did not exist then.

    A default keeps what was before, or a row of code_version.CHANGES says what it changes: so a
    key that was added is no other configuration. A section that is not there, or without its names,
    stays as it is.

    >>> completed({"train": {"steps": 10, "batch_size": 8}})["train"]["accumulate"]
    1
    """
    found: dict[str, Any] = {**defaults(TOP), **stored}
    for section in SECTIONS:
        values = stored.get(section)
        names = [name for owner, name in CHOICES if owner == section]
        if isinstance(values, Mapping) and all(isinstance(values.get(n), str) for n in names):
            found[section] = {**defaults(section_options(section, values)), **values}
    return found


def defaults(known: Mapping[str, Option]) -> dict[str, Any]:
    """The defaults of those keys that have one."""
    return {key: option.default for key, option in known.items() if option.default is not REQUIRED}


def every_key() -> list[str]:
    """Every key that a config may have, whatever names it chooses."""
    found = dict.fromkeys(TOP)
    for section in SECTIONS:
        for chosen in choices(section):
            found |= {f"{section}.{name}": None for name in section_options(section, chosen)}
    return list(found)


def choices(section: str) -> list[dict[str, str]]:
    """All choices of names in a section."""
    folder = {"tokenizer": "tokenizers", "objective": "objectives", "model": "models"}.get(section)
    if folder is not None:
        return [{"name": name} for name in registry.names(folder)]
    pairs = [(n, s) for n in optimizers.OPTIMIZERS for s in schedules.SCHEDULES]
    return [{"name": n, "schedule": s} for n, s in pairs] if section == "optimizer" else [{}]
