"""Resolves a config: a file, then the command line, then the defaults of the builders.

Resolving takes two passes, so that `--config.objective.name=masked_lm --config.objective.rate=0.3`
works even if the file names another objective:

1. load the file and apply overrides of names (`*.name`, `optimizer.schedule`);
2. fill every section with the keyword defaults of the builders that it names, and apply the other
   overrides.

The keys of a section are the keyword-only parameters of its builders. An unknown key, a missing
key, a value of the wrong type or out of range, and an override that nothing in this run reads raise
ConfigError.
"""

import ast
import contextlib
import logging
import typing
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import RequiredValueError

from pretrain_jax import registry
from pretrain_jax.composition import config_files, presets, ranges, synonyms, unread_keys
from pretrain_jax.composition.sections import (
    CHOICES,
    FOLDERS,
    NEWER,
    SECTIONS,
    TOP,
    choices,
    every_key,
    rename_keys,
    rename_overrides,
    section_options,
)
from pretrain_jax.devices import topology
from pretrain_jax.errors import ConfigError, InputMissing, list_names
from pretrain_jax.registry import REQUIRED, Option
from pretrain_jax.workdir import run_config

log = logging.getLogger(__name__)


def read(
    path: str,
    overrides: Sequence[tuple[str, str]] = (),
    preset: Mapping[str, Any] = MappingProxyType({}),
) -> ConfigDict:
    """The resolved, locked config of a file, `FILE[:argument]` or `NAME[:argument]`.

    overrides: pairs of a dotted key and its text, ("train.steps", "100"). preset: values by dotted
    key; they override those of the file, and `overrides` overrides them. Raises ConfigError, or
    InputMissing if the file does not exist.
    """
    config = load(path)
    for key, value in preset.items():
        section, _, name = key.partition(".")
        config.setdefault(section, {})[name] = value
    return resolve(config, overrides)


def read_workdir(directory: str, overrides: Sequence[tuple[str, str]] = ()) -> ConfigDict:
    """The resolved, locked config of the config.json in a workdir. Raises InputMissing too."""
    stored = run_config.read_config(directory)
    if stored is None:
        raise InputMissing(
            f"--workdir must be the workdir of a run; {directory} has no config.json. If it has "
            "checkpoints, name its config with --config=FILE"
        )
    return resolve(stored, overrides)


def resolve(values: Mapping[str, Any], overrides: Sequence[tuple[str, str]]) -> ConfigDict:
    """`values` with the overrides and all defaults, checked."""
    config = {**values}
    for section in SECTIONS:
        if not isinstance(config.get(section, {}), Mapping):
            raise ConfigError(
                f"config.{section} must be a section with keys; received {config[section]!r}"
            )
    config, overrides = rename_keys(config), rename_overrides(overrides)
    for key, _ in overrides:
        check_key(key)
    rechosen = set()
    for key, text in overrides:
        section, _, name = key.partition(".")
        if (section, name) in CHOICES:
            config[section] = {**config.get(section, {}), name: text}
            rechosen.add(section)
    filled = {name: fill_option(name, config.get(name, REQUIRED), TOP[name]) for name in TOP}
    for section in SECTIONS:
        given = {**NEWER.get(section, {}), **config.get(section, {})}
        filled[section] = fill_section(section, given, section in rechosen, overrides)
    for key, text in overrides:
        section, _, name = key.partition(".")
        if section in TOP:
            filled[section] = parse_override(key, text, TOP[section])
        elif (section, name) not in CHOICES:
            known = section_options(section, filled[section])
            if name not in known:
                raise unknown_key_error(key, known)
            filled[section][name] = parse_override(key, text, known[name])
    unknown = set(config) - set(filled)
    if unknown:
        raise unknown_key_error(sorted(unknown)[0], filled)
    resolved = ConfigDict(filled).lock()
    unread_keys.check(resolved, [key for key, _ in overrides])
    return resolved


def device_options(
    path: str,
    overrides: Sequence[tuple[str, str]],
    devices: Sequence[Any],
    simulated: str = "",
    stored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The options of a config file for these devices (composition/presets.py), by dotted key.

    Leaves out those that the command line sets, and logs the others. simulated: the kind of GPU
    that the devices simulate. stored: the config of the run in the workdir, if there is one.
    """
    pods = read_pods(path)
    pod = presets.match_topology(pods, devices, simulated)
    stored = None if stored is None else rename_keys(stored)
    overridden = {key for key, _ in rename_overrides(overrides)}
    options = presets.select_options(pods, pod, stored)
    options = {key: value for key, value in options.items() if key not in overridden}
    if options:
        listed = ", ".join(f"{key}={value}" for key, value in options.items())
        log.info("%s: %s", f"{path} on {pod}" if pod else "stored values of this run", listed)
    return options


def read_pods(path: str) -> presets.Pods:
    """PODS of a config file; {} if it has none. Raises ConfigError if it is malformed."""
    pods = getattr(config_files.run(config_files.locate(path)[0]), "PODS", {})
    if not isinstance(pods, Mapping) or not all(
        isinstance(name, str) and isinstance(options, Mapping) for name, options in pods.items()
    ):
        raise ConfigError(
            'PODS of a config file must be a dict such as {"v5p:4x4x4": {"mesh.data": 4}}; '
            f"received {pods!r}"
        )
    present: dict[str, dict[str, Any]] = {}
    for name, options in pods.items():
        if not all(isinstance(key, str) and "." in key for key in options):
            raise ConfigError(
                'the keys of an entry of PODS must be dotted, such as "mesh.data"; received '
                f"{name!r}: {dict(options)!r}"
            )
        topology.parse(name)
        present[name] = dict(rename_overrides(list(options.items())))
        for key in present[name]:
            check_key(key)
    return present


def value_origins(
    path: str,
    overrides: Sequence[tuple[str, str]],
    config: Mapping[str, Any],
    preset: Container[str] = (),
) -> dict[str, str]:
    """The origin of each value of a config that `read` returned, by dotted key.

    "command line", "pod" (a key in `preset`, the options for the devices), "file", or "default"
    (of the builder that takes the key).
    """
    given, overridden = load(path), {key for key, _ in rename_overrides(overrides)}
    origins = {}
    for section, value in config.items():
        file, names = given, {section: section}
        if section not in TOP:
            file = given.get(section, {})
            names = {name: f"{section}.{name}" for name in value}
        for name, key in names.items():
            origin = "pod" if key in preset else "file" if name in file else "default"
            origins[key] = "command line" if key in overridden else origin
    return origins


def load(path: str) -> dict[str, Any]:
    """The result of get_config([argument]) of a file as a dict, with present names of keys."""
    file, argument = config_files.locate(path)
    config = config_files.call(config_files.run(file), file, argument)
    try:
        config = config.to_dict() if isinstance(config, ConfigDict) else config
    except RequiredValueError as error:
        raise ConfigError(
            f"every key that get_config() of {file} sets must have a value; it has a required "
            "placeholder without one. Leave that key out: a key without a default must then be "
            "set with --config.SECTION.KEY=VALUE"
        ) from error
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise ConfigError(f"get_config() of {file} must return a ConfigDict; received {config!r}")
    return rename_keys(config)


def fill_section(
    section: str, given: dict[str, Any], rechosen: bool, overrides: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """A section with the defaults of its builders and its given values, type-checked.

    rechosen: the command line chose other names than the file. Keys that only the file's choice
    takes are then dropped with a warning.
    """
    for _, name in (choice for choice in CHOICES if choice[0] == section):
        if name not in given:
            raise ConfigError(f"config.{section}.{name} must be set; the file does not set it")
    known = section_options(section, given)
    overridden = {key for key, _ in overrides}
    values = {}
    for key in given:
        if key in known:
            continue
        if not rechosen:
            raise unknown_key_error(f"{section}.{key}", known)
        log.warning("config.%s.%s of the file is dropped: %r has no such option",
                    section, key, given["name"])  # fmt: skip
    for key, option in known.items():
        if f"{section}.{key}" in overridden and key not in given and option.default is REQUIRED:
            values[key] = None  # the second pass sets it from the command line
        else:
            values[key] = fill_option(f"{section}.{key}", given.get(key, REQUIRED), option)
    return values


def fill_option(key: str, value: Any, option: Option) -> Any:
    """The value, or the option's default, checked against type and range of the option."""
    if value is REQUIRED:
        value = option.default
    if value is REQUIRED:
        raise ConfigError(f"config.{key} must be set; it has no default")
    return ranges.check(key, registry.coerce(key, value, option.type), allowed=option.range)


def parse_override(key: str, text: str, option: Option) -> Any:
    """The value of an override: 1e-3, 1_000, True, (1, 2), or the text itself for a string."""
    kind = typing.get_origin(option.type) or option.type
    if kind is str:
        return text
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    return fill_option(key, value, option)


def check_key(key: str) -> None:
    """Raises ConfigError for an override without a known section, or without a key in it."""
    section, _, name = key.partition(".")
    known = [*SECTIONS, *TOP]
    if section not in known:
        raise unknown_key_error(section, known)
    if (section in TOP) == bool(name):
        raise ConfigError(
            f"--config.{key} must name one key of a section, such as --config.train.steps=100"
        )


def choices_with(section: str, name: str) -> list[str]:
    """The names that a section chooses from whose options include `name`."""
    found = []
    for chosen in choices(section) if section in FOLDERS else ():
        with contextlib.suppress(ConfigError):
            if name in section_options(section, chosen):
                found.append(chosen["name"])
    return found


def unknown_key_error(key: str, known: typing.Iterable[str]) -> ConfigError:
    """The error for an unknown key. Suggests keys by meaning, otherwise by spelling."""
    section, dot, name = key.rpartition(".")
    candidates = synonyms.find_keys(key, every_key())
    suggestion = registry.did_you_mean(name, known)
    if candidates:
        suggestion = f"; did you mean {' or '.join(f'config.{key}' for key in candidates)}?"
    listed = ", ".join(sorted(known))
    if owners := choices_with(section, name):
        return ConfigError(
            f"config.{key} is an option of {section}.name={list_names(owners)}; with the name "
            f"of this config, the keys are {listed}. Change config.{section}.name, or "
            f"leave out {key}"
        )
    return ConfigError(
        f"unknown key config.{key}{suggestion}; known keys{dot and f' of {section}'} are {listed}"
    )
