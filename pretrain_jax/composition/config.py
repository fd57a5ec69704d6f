"""Reading a configuration: a file, then the command line, then the builders' own defaults.

A config is read in two passes, so that `--config.objective.name=masked_lm
--config.objective.rate=0.3` works although the file names another objective:

1. the file is loaded and overrides of names are applied (`*.name`, `optimizer.schedule`);
2. every section is filled with the keyword defaults of what it names, and the other overrides are
   applied.

The keys of a section are the keyword-only parameters of the functions that it is handed to, and
nothing else: an unknown key, a missing one, a value of the wrong type or out of its range, and an
override that nothing in this run reads end here.
"""

import ast
import logging
import typing
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from pretrain_jax import registry
from pretrain_jax.composition import config_files, presets, ranges, synonyms, unread_keys
from pretrain_jax.composition.sections import CHOICES, SECTIONS, TOP, every_key, section_options
from pretrain_jax.devices import topology
from pretrain_jax.errors import ConfigError, InputMissing
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
    key that come before the file's own, and after `overrides`. Raises ConfigError, or InputMissing
    for a file that is not there.
    """
    config = load(path)
    for key, value in preset.items():
        section, _, name = key.partition(".")
        config.setdefault(section, {})[name] = value
    return resolved(config, overrides)


def of_workdir(directory: str, overrides: Sequence[tuple[str, str]] = ()) -> ConfigDict:
    """The same of the config.json that a run left in its workdir. Raises InputMissing, too."""
    stored = run_config.read_config(directory)
    if stored is None:
        raise InputMissing(
            f"--workdir must be one that a run has begun in; {directory} has no config.json. "
            "Name its config with --config=FILE"
        )
    return resolved(stored, overrides)


def resolved(given: Mapping[str, Any], overrides: Sequence[tuple[str, str]]) -> ConfigDict:
    """`given` with the overrides and all defaults, checked."""
    config = {**given}
    for section in SECTIONS:
        if not isinstance(config.get(section, {}), Mapping):
            raise ConfigError(f"config.{section} is a section; received {config[section]!r}")
    for key, _ in overrides:
        check_key(key)
    renamed = set()
    for key, text in overrides:
        section, _, name = key.partition(".")
        if (section, name) in CHOICES:
            config[section] = {**config.get(section, {}), name: text}
            renamed.add(section)
    filled = {name: fill_option(name, config.get(name, REQUIRED), TOP[name]) for name in TOP}
    for section in SECTIONS:
        given = dict(config.get(section, {}))
        filled[section] = fill(section, given, section in renamed, overrides)
    for key, text in overrides:
        section, _, name = key.partition(".")
        if section in TOP:
            filled[section] = parse(key, text, TOP[section])
        elif (section, name) not in CHOICES:
            known = section_options(section, filled[section])
            if name not in known:
                raise unknown_key(key, known)
            filled[section][name] = parse(key, text, known[name])
    unknown = set(config) - set(filled)
    if unknown:
        raise unknown_key(sorted(unknown)[0], filled)
    found = ConfigDict(filled).lock()
    unread_keys.check(found, [key for key, _ in overrides])
    return found


def preset(
    path: str,
    overrides: Sequence[tuple[str, str]],
    devices: Sequence[Any],
    simulated: str = "",
    stored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The options that a config file has for these devices (composition/presets.py), by dotted
    key, without those that the command line sets. The log says which.

    simulated: the kind of GPU that the devices stand for. stored: the config of the run that has
    begun in the workdir.
    """
    named = pods_of(path)
    pod = presets.known(named, devices, simulated)
    written = {key for key, _ in overrides}
    found = {k: v for k, v in presets.preset(named, pod, stored).items() if k not in written}
    if found:
        listed = ", ".join(f"{key}={value}" for key, value in found.items())
        log.info("%s: %s", f"{path} on {pod}" if pod else "as the run began", listed)
    return found


def pods_of(path: str) -> presets.Pods:
    """PODS of a config file; {} where it has none. Raises ConfigError for a malformed one."""
    found = getattr(config_files.run(config_files.locate(path)[0]), "PODS", {})
    if not isinstance(found, Mapping) or not all(isinstance(v, Mapping) for v in found.values()):
        raise ConfigError(
            'PODS of a config file is a dict such as {"v5p:4x4x4": {"mesh.data": 4}}; '
            f"received {found!r}"
        )
    for name, options in found.items():
        topology.parse(name)
        for key in options:
            check_key(key)
    return found


def origins(
    path: str,
    overrides: Sequence[tuple[str, str]],
    config: Mapping[str, Any],
    preset: Container[str] = (),
) -> dict[str, str]:
    """By dotted key, where each value of what `read` returned came from.

    "command line", "pod" (preset, keys of options for the devices), "file", or "default" (of the
    builder that takes the key).
    """
    given, written = load(path), {key for key, _ in overrides}
    found = {}
    for section, value in config.items():
        file, names = given, {section: section}
        if section not in TOP:
            file = given.get(section, {})
            names = {name: f"{section}.{name}" for name in value}
        for name, key in names.items():
            origin = "pod" if key in preset else "file" if name in file else "default"
            found[key] = "command line" if key in written else origin
    return found


def load(path: str) -> dict[str, Any]:
    """What the file's get_config([argument]) returns, as plain dicts."""
    file, argument = config_files.locate(path)
    module = config_files.run(file)
    try:
        config = module.get_config(*([argument] if argument else []))
    except Exception as error:
        raise config_files.unusable(file, error) from error
    config = config.to_dict() if isinstance(config, ConfigDict) else config
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise ConfigError(f"get_config() of {file} must return a ConfigDict; received {config!r}")
    return dict(config)


def fill(
    section: str, given: dict[str, Any], renamed: bool, overrides: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """A section with the defaults of what it names, and its own values checked against their types.

    Where the command line chose another name than the file, keys that belonged to the file's
    choice are left out, and the log says so.
    """
    for _, name in (choice for choice in CHOICES if choice[0] == section):
        if name not in given:
            raise ConfigError(f"config.{section}.{name} must be set; the file does not name it")
    known = section_options(section, given)
    written = {key for key, _ in overrides}
    values = {}
    for key in given:
        if key in known:
            continue
        if not renamed:
            raise unknown_key(f"{section}.{key}", known)
        log.warning("config.%s.%s of the file is left out: %r has no such option",
                        section, key, given["name"])  # fmt: skip
    for key, option in known.items():
        if f"{section}.{key}" in written and key not in given and option.default is REQUIRED:
            values[key] = None  # the command line gives it in the second pass
        else:
            values[key] = fill_option(f"{section}.{key}", given.get(key, REQUIRED), option)
    return values


def fill_option(key: str, value: Any, option: Option) -> Any:
    """The value, or the option's default, checked against the option's type."""
    if value is REQUIRED:
        value = option.default
    if value is REQUIRED:
        raise ConfigError(f"config.{key} must be set; it has no default")
    return ranges.check(key, registry.coerce(key, value, option.type), allowed=option.range)


def parse(key: str, text: str, option: Option) -> Any:
    """The text of an override as a value: 1e-3, 1_000, True, (1, 2), or a string as it stands."""
    kind = typing.get_origin(option.type) or option.type
    if kind is str:
        return text
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    return ranges.check(key, registry.coerce(key, value, option.type), allowed=option.range)


def check_key(key: str) -> None:
    """Raises ConfigError for an override that names no section, or a section as a whole."""
    section, _, name = key.partition(".")
    known = [*SECTIONS, *TOP]
    if section not in known:
        raise unknown_key(section, known)
    if (section in TOP) == bool(name):
        raise ConfigError(
            f"--config.{key} must name one key of a section, as --config.train.steps=100 does"
        )


def unknown_key(key: str, known: typing.Iterable[str]) -> ConfigError:
    """An error that names the nearest keys: by meaning, else by letters in the same section."""
    section, dot, name = key.rpartition(".")
    meant = synonyms.find_keys(key, every_key())
    near = registry.did_you_mean(name, known)
    if meant:
        near = f"; did you mean {' or '.join(f'config.{one}' for one in meant)}?"
    listed = ", ".join(sorted(known))
    return ConfigError(
        f"unknown key config.{key}{near}; known keys{dot and f' of {section}'} are {listed}"
    )
