"""Shared by all commands: parsing the command line, and exit codes for errors.

    --config=FILE[:argument]   --config.section.key=value   and the options of each command

An unknown option, an invalid value or a stray argument exits with code 64 and suggests similar
names. A value follows after "=", or as the next word if it does not begin with "--". In names,
"-" means "_".
"""

import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import synonyms
from pretrain_jax.errors import ConfigError, Interrupted, UserError, short_repr
from pretrain_jax.files import paths
from pretrain_jax.process import shutdown, stdio
from pretrain_jax.registry import Range
from pretrain_jax.xla import flags, malloc, oom, program_cache

JAX_NOTE = "JAX_TRACEBACK_FILTERING"
"""Part of a note that jax adds to exceptions about tracebacks; commands print none."""
AGAIN = "by Ctrl-C; there was nothing to save; start the same command again"
NO_CONFIG = ConfigError("--config must name a config, such as --config=gpt2_nano")


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line."""

    config: str
    """FILE or FILE:argument; empty when not given."""
    overrides: tuple[tuple[str, str], ...]
    """Pairs (dotted key, text of its value), in the order of the command line."""
    flags: Mapping[str, str]
    """The options of the command itself."""


def parse(
    argv: Sequence[str],
    flags: Mapping[str, str],
    choices: Mapping[str, Sequence[str]] | None = None,
    switches: Sequence[str] = (),
    takes_config: bool = True,
    keys: Callable[[], Iterable[str]] = tuple,
    needs_config: bool = True,
) -> CommandLine:
    """Parses a command line. Raises ConfigError.

    flags         the options of the command itself, with their defaults
    choices       the allowed values of some of these options
    switches      options without a value; "1" if present
    takes_config  whether the command accepts --config and --config.KEY
    keys          returns all keys of a config, for the message about an unknown option
    needs_config  whether --config is required

    >>> parse(["--config=a.py", "--config.train.steps", "5"], {"workdir": ""}).overrides
    (('train.steps', '5'),)
    """
    every = [*flags, *switches, *(["config", "config.KEY"] if takes_config else [])]
    known = list(dict.fromkeys(every))
    values = {**flags, **dict.fromkeys(switches, "")}
    config, overrides = "", []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ConfigError(
                f"every argument must be an option that begins with --; received {word!r}"
                f"{suggest_key(word, keys() if takes_config else ())}; "
                f"options are {', '.join('--' + name for name in known)}"
            )
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        is_key = takes_config and (name == "config" or name.startswith("config."))
        if not is_key and name not in values:
            near = suggest_option(name, known, keys() if takes_config else ())
            options = ", ".join("--" + option for option in known)
            raise ConfigError(f"unknown option --{name}{near}; options are {options}")
        if name in switches:
            if equals:
                raise ConfigError(f"--{name} takes no value; received {word!r}")
            value = "1"
        elif not equals:
            value = take_value(name, words)
        if name == "config":
            config = value
        elif is_key:
            overrides.append((name.removeprefix("config."), value))
        else:
            values[name] = value
    if "workdir" in values:
        values["workdir"] = paths.expand_user(values["workdir"], "--workdir")
        if not values["workdir"] and any(word.startswith("--workdir") for word in argv):
            raise ConfigError("--workdir needs a value, such as --workdir=runs/mine; it is empty")
    for name, allowed in (choices or {}).items():
        registry.check_name(values[name], allowed, f"--{name}")
    if takes_config and needs_config and not config:
        raise NO_CONFIG
    return CommandLine(config, tuple(overrides), values)


def take_value(name: str, words: list[str]) -> str:
    """Removes the value of an option from the words after it. Raises ConfigError."""
    if not words:
        raise ConfigError(f"--{name} needs a value: --{name}=VALUE")
    if words[0].startswith("--"):
        raise ConfigError(
            f"--{name} needs a value, but {words[0]!r} after it is an option; write "
            f"--{name}=VALUE if the value begins with --"
        )
    return words.pop(0)


def suggest_option(name: str, known: Sequence[str], keys: Iterable[str]) -> str:
    """A suggestion for an unknown option: keys of the config, or options.

    >>> suggest_option("steps", ["slices"], ["train.steps"])
    '; did you mean --config.train.steps?'
    """
    similar = synonyms.find_keys(name, keys)
    if not similar:
        return registry.did_you_mean(name, known)
    return f"; did you mean {' or '.join(f'--config.{key}' for key in similar)}?"


def suggest_key(word: str, keys: Iterable[str]) -> str:
    """A suggestion for an argument that is a key of the config without its prefix.

    >>> suggest_key("mesh.fsdp=-1", ["mesh.fsdp"])
    '; did you mean --config.mesh.fsdp=-1?'
    """
    known = word.partition("=")[0] in set(keys)
    return f"; did you mean --config.{word}?" if known else ""


def default_workdir(line: CommandLine) -> str:
    """runs/NAME for the config file NAME.py."""
    return str(Path("runs") / Path(line.config.partition(":")[0]).stem)


def run(main: Callable[[list[str]], int], usage: str | None) -> int:
    """Runs a command: prints user errors without a traceback and returns the exit code.

    If `main` is the main program of this process, the process exits within seconds after it. A
    program that calls `run` itself continues.
    """
    is_main_program = main.__module__ == "__main__"
    if is_main_program:
        stdio.wrap_standard_streams()
    code = 1  # after a traceback
    try:
        code = exit_code(main, usage)
    finally:
        if is_main_program:
            shutdown.exit_within_seconds(code)
    return code


def exit_code(main: Callable[[list[str]], int], usage: str | None) -> int:
    """Runs a command and prints its errors; returns its exit code."""
    # Our own messages, but only warnings of the libraries: jax and orbax log a lot.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("pretrain_jax").setLevel(logging.INFO)
    argv = sys.argv[1:]
    try:
        if {"--help", "-h"} & set(argv):
            print(usage, flush=True)
            return 0
        malloc.keep_freed_memory()
        flags.reserve_gpu_memory()
        program_cache.enable()
        with oom.explain():
            code = main(argv)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        return 0
    except UserError as error:
        return report_error(error)
    except KeyboardInterrupt as interrupt:
        # Only when Python was not started with -m (process/shutdown.py), before or after training.
        # Another error may already have been ending the run.
        before = interrupt.__context__
        os._exit(report_error(before if isinstance(before, UserError) else Interrupted(AGAIN)))


def report_error(error: UserError) -> int:
    """Prints an error and the errors that followed it; returns its exit code."""
    notes = (note for note in getattr(error, "__notes__", ()) if JAX_NOTE not in note)
    more = "".join(f"\n  also: {note}" for note in notes)
    # In one write: several processes may share a terminal (launch/local.sh), and `print` writes
    # the newline separately.
    sys.stderr.write(f"{type(error).__name__}: {error}{more}\n")
    sys.stderr.flush()
    return error.exit_code


def parse_number(
    line: CommandLine, name: str, kind: type[int] | type[float], allowed: Range
) -> Any:
    """The value of an option as a number in the range `allowed`. Raises ConfigError."""
    text = line.flags[name]
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not allowed.contains(value):
        raise ConfigError(
            f"--{name} must be a number of type {kind.__name__}, {allowed}; "
            f"received {short_repr(text)}"
        )
    return value
