"""Which functions take the keys of each section of a config.

The keys of a section are the keyword-only parameters of these functions, and nothing else.

Keys that no builder takes, described here for the reference of config keys:

seed: seed of the run: initial parameters, the order of the data, noise and dropout follow from it
init_from: workdir of another run, or one of its checkpoints (RUN/checkpoints/STEP); this run starts
    with the parameters of that run, at step 0 and with a new schedule
init_tokens: tokenizer of a run with init_from: "same" copies that of the other run; "shared" uses
    this run's own tokenizer and keeps the embeddings of the tokens that both tokenizers have
init_layers: the layers of the other run that this run takes, from 0, one for each of its own; () =
    all of them
name: what this section selects: the name of a file or a function, whose options are the other keys
schedule: name of the learning-rate schedule
path: file or folder of a published vocabulary to use instead of learning one; empty = learn one
    from the run's own text
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import spec
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers import attention, stacks
from pretrain_jax.models import _base
from pretrain_jax.optim import clipping, optimizers, schedules
from pretrain_jax.registry import REQUIRED, Option
from pretrain_jax.sharding import mesh
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)
NAME = Option(str, REQUIRED)
Chosen = Mapping[str, Any]
TOP = {
    "seed": Option(int, 0),
    "init_from": Option(str, ""),
    "init_tokens": Option(str, "same"),
    "init_layers": Option(tuple[int, ...], ()),
}
"""Keys outside of all sections; init_from.py implements init_tokens."""
CHOICES = (
    ("tokenizer", "name"),
    ("objective", "name"),
    ("model", "name"),
    ("optimizer", "name"),
    ("optimizer", "schedule"),
    ("adapter", "name"),
)
"""Keys that choose which function takes the other keys of their section."""
RENAMED = {"model.attention_form": "model.attention_backend"}
"""Old name of a key -> its present name. Config files, command lines and the stored configs of old
workdirs may use the old name; a warning names both. Both names belong to sections."""


def _tokenizer(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("tokenizers", chosen["name"], "tokenizer.name")
    options = registry.options(module.load, module.train)
    options.pop("vocab_size")  # model.vocab_size
    return {"name": NAME, "path": Option(str, ""), **options}


def _objective(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("objectives", chosen["name"], "objective.name")
    return {"name": NAME, **registry.options(module.build)}


def _model(chosen: Chosen) -> dict[str, Option]:
    architecture = _base.load(chosen["name"])
    return {
        "name": NAME,
        **registry.options(architecture.build, stacks.layer_loop, attention.choose_backend),
    }


def _optimizer(chosen: Chosen) -> dict[str, Option]:
    optimizer = registry.pick(optimizers.OPTIMIZERS, chosen["name"], "optimizer.name")
    schedule = registry.pick(schedules.SCHEDULES, chosen["schedule"], "optimizer.schedule")
    options = registry.options(
        schedules.build_schedule,
        schedule,
        clipping.clip_options,
        optimizers.build_optimizer,
        optimizer,
    )
    return {"name": NAME, "schedule": NAME, **options}


def _adapter(chosen: Chosen) -> dict[str, Option]:
    module = registry.load("adapters", chosen["name"], "adapter.name")
    return {"name": Option(str, NEWER["adapter"]["name"]), **registry.options(module.build)}


SECTIONS: dict[str, Callable[[Chosen], dict[str, Option]]] = {
    "data": lambda _: registry.options(spec.DataOptions),
    "tokenizer": _tokenizer,
    "objective": _objective,
    "model": _model,
    "optimizer": _optimizer,
    "adapter": _adapter,
    "mesh": lambda _: registry.options(mesh.build),
    "train": lambda _: registry.options(spec.TrainOptions),
    "checkpoint": lambda _: registry.options(Checkpoints),
    "eval": lambda _: registry.options(spec.EvalOptions),
    "reporting": lambda _: registry.options(spec.ReportingOptions),
}
NEWER: dict[str, dict[str, Any]] = {"reporting": {}, "adapter": {"name": "none"}}
"""Sections that the configs of older workdirs and most config files lack, with the names that they
choose by default; all of their other keys have defaults."""


FOLDERS = {
    "tokenizer": "tokenizers",
    "objective": "objectives",
    "model": "models",
    "adapter": "adapters",
}
"""The folder of the package whose modules a section chooses from."""


def section_options(section: str, chosen: Chosen) -> dict[str, Option]:
    """The keys of a section, given the names chosen in it."""
    return SECTIONS[section](chosen)


def present_name(key: str) -> str:
    """The present name of a dotted key. Warns for an old name, once per process.

    >>> present_name("model.attention_form")
    'model.attention_backend'
    """
    if key not in RENAMED:
        return key
    _warn_renamed(key)
    return RENAMED[key]


@functools.cache
def _warn_renamed(old: str) -> None:
    log.warning("config.%s is now config.%s; the old name still works", old, RENAMED[old])


def rename_overrides(overrides: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Overrides of the command line with the present names of their keys.

    Raises ConfigError for both names of a key.
    """
    given = {key for key, _ in overrides}
    for old, new in RENAMED.items():
        if {old, new} <= given:
            raise both_names(old, new)
    return [(present_name(key), text) for key, text in overrides]


def both_names(old: str, new: str) -> ConfigError:
    """The error for a key that is given by its old and by its present name."""
    return ConfigError(
        f"config.{old} is the old name of config.{new}; received both. Remove config.{old}"
    )


def rename_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as nested dicts, with the present names of its keys.

    Raises ConfigError for a config that has both the old and the present name of a key.

    >>> rename_keys({"model": {"attention_form": "plain"}})
    {'model': {'attention_backend': 'plain'}}
    """
    renamed = dict(config)
    for old in RENAMED:
        section, _, name = old.partition(".")
        values = renamed.get(section)
        if not isinstance(values, Mapping) or name not in values:
            continue
        new = present_name(old)
        new_section, _, new_name = new.partition(".")
        renamed[section] = {key: value for key, value in values.items() if key != name}
        target = renamed.get(new_section, {})
        if new_name in target:
            raise both_names(old, new)
        renamed[new_section] = {**target, new_name: values[name]}
    return renamed


def with_defaults(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config with the present names of its keys and the defaults of newer keys.

    A default keeps the behavior of older code, or a row of code_version.CHANGES states what it
    changes, so a new key does not make it another configuration. Adds the sections of NEWER. Leaves
    other sections alone that are missing or do not choose their names. Raises ConfigError for a
    value of another type.

    >>> with_defaults({"train": {"steps": 10, "batch_size": 8}})["train"]["accumulate"]
    1
    """
    completed: dict[str, Any] = {**defaults(TOP), **NEWER, **rename_keys(stored)}
    for section in SECTIONS:
        values = completed.get(section)
        names = [name for owner, name in CHOICES if owner == section]
        if isinstance(values, Mapping) and all(isinstance(values.get(n), str) for n in names):
            known = section_options(section, values)
            typed = {
                key: registry.coerce(f"{section}.{key}", value, known[key].type)
                if key in known
                else value
                for key, value in values.items()
            }
            completed[section] = {**defaults(known), **typed}
    return completed


def defaults(known: Mapping[str, Option]) -> dict[str, Any]:
    """The default of each key that has one."""
    return {key: option.default for key, option in known.items() if option.default is not REQUIRED}


def every_key() -> list[str]:
    """Every key that a config may have, over all choices of names that can be imported."""
    keys = dict.fromkeys(TOP)
    for section in SECTIONS:
        for chosen in choices(section):
            with contextlib.suppress(ConfigError):
                keys |= {f"{section}.{name}": None for name in section_options(section, chosen)}
    return list(keys)


def choices(section: str) -> list[dict[str, str]]:
    """All choices of names in a section."""
    folder = FOLDERS.get(section)
    if folder is not None:
        return [{"name": name} for name in registry.names(folder)]
    pairs = [(n, s) for n in optimizers.OPTIMIZERS for s in schedules.SCHEDULES]
    return [{"name": n, "schedule": s} for n, s in pairs] if section == "optimizer" else [{}]
