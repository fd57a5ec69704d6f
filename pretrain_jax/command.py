"""What all commands share: a closed command line, and errors that end in an exit code.

    --config=FILE[:argument]   --config.section.key=value   and each command's own few options

An unknown option, a wrong value and a stray argument end here with exit code 64 and the nearest
names. Values may follow after "=" or as the next word, where they do not begin with "--". In names
"-" is "_".
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
from pretrain_jax.errors import ConfigError, Interrupted, UserError, shown
from pretrain_jax.files import paths
from pretrain_jax.process import ending, streams
from pretrain_jax.registry import Range
from pretrain_jax.xla import flags, malloc, oom, program_cache

JAX_NOTE = "JAX_TRACEBACK_FILTERING"
"""In a note of jax about tracebacks, of which none is printed."""
AGAIN = "by Ctrl-C, when nothing was to be saved; start the same command again"
NO_CONFIG = ConfigError("--config must name a config, such as --config=gpt2_nano")


@dataclass(frozen=True)
class Line:
    """A parsed command line."""

    config: str
    """FILE or FILE:argument; empty when not given."""
    overrides: tuple[tuple[str, str], ...]
    """Pairs of a dotted key and its text, in the order they were written."""
    flags: Mapping[str, str]
    """The command's own options."""


def parse(
    argv: Sequence[str],
    flags: Mapping[str, str],
    choices: Mapping[str, Sequence[str]] | None = None,
    switches: Sequence[str] = (),
    takes_config: bool = True,
    keys: Callable[[], Iterable[str]] = tuple,
    needs_config: bool = True,
) -> Line:
    """Reads a command line. Raises ConfigError.

    flags: the command's own options with their defaults; choices: what some of them must be one
    of; switches: options without a value, "1" when present; keys: gives every key of a config, for
    the message about an unknown option; needs_config: False where a config may come from elsewhere.

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
                f"every argument is an option that begins with --; received {word!r}. "
                f"Options are {', '.join('--' + name for name in known)}"
            )
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        is_key = takes_config and (name == "config" or name.startswith("config."))
        if not is_key and name not in values:
            near = nearest_option(name, known, keys() if takes_config else ())
            options = ", ".join("--" + option for option in known)
            raise ConfigError(f"unknown option --{name}{near}; options are {options}")
        if name in switches:
            if equals:
                raise ConfigError(f"--{name} takes no value; received {word!r}")
            value = "1"
        elif not equals:
            value = next_word(name, words)
        if name == "config":
            config = value
        elif is_key:
            overrides.append((name.removeprefix("config."), value))
        else:
            values[name] = value
    if "workdir" in values:
        values["workdir"] = paths.expanded(values["workdir"], "--workdir")
        if not values["workdir"] and any(word.startswith("--workdir") for word in argv):
            raise ConfigError("--workdir needs a value, such as --workdir=runs/mine; it is empty")
    for name, allowed in (choices or {}).items():
        registry.check_name(values[name], allowed, f"--{name}")
    if takes_config and needs_config and not config:
        raise NO_CONFIG
    return Line(config, tuple(overrides), values)


def next_word(name: str, words: list[str]) -> str:
    """Takes the value of an option from the words behind it. Raises ConfigError."""
    if not words:
        raise ConfigError(f"--{name} needs a value: --{name}=VALUE")
    if words[0].startswith("--"):
        raise ConfigError(
            f"--{name} needs a value, and {words[0]!r} behind it is an option; write "
            f"--{name}=VALUE, also where the value begins with --"
        )
    return words.pop(0)


def nearest_option(name: str, known: Sequence[str], keys: Iterable[str]) -> str:
    """What an unknown option may have meant: a key of the config, or one of the options.

    >>> nearest_option("steps", ["slices"], ["train.steps"])
    '; did you mean --config.train.steps?'
    """
    found = synonyms.like(name, keys)
    if not found:
        return registry.nearest(name, known)
    return f"; did you mean {' or '.join(f'--config.{key}' for key in found)}?"


def default_workdir(line: Line) -> str:
    """runs/<name of the config file>."""
    return str(Path("runs") / Path(line.config.partition(":")[0]).stem)


def run(main: Callable[[list[str]], int], usage: str | None) -> int:
    """Runs a command: prints errors for people without a traceback, returns the exit code.

    Where `main` is what this process was started for, whatever ends it ends the process, within
    seconds; a program that calls `run` for itself goes on.
    """
    own = main.__module__ == "__main__"
    if own:
        streams.take()
    code = 1  # of a traceback
    try:
        code = code_of(main, usage)
    finally:
        if own:
            ending.within_seconds(code)
    return code


def code_of(main: Callable[[list[str]], int], usage: str | None) -> int:
    """Runs a command and prints its errors; returns its exit code."""
    # Our own lines, and warnings of the libraries; jax and orbax say much that is no one's concern.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("pretrain_jax").setLevel(logging.INFO)
    argv = sys.argv[1:]
    if {"--help", "-h"} & set(argv):
        print(usage)
        return 0
    malloc.keep_freed_memory()
    flags.reserve_gpu_memory()
    program_cache.enable()
    try:
        with oom.explain():
            code = main(argv)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # whoever read our output, as `head` does, has seen enough
        return 0
    except UserError as error:
        return told(error)
    except KeyboardInterrupt as interrupt:
        # Of a Python not started with -m (process/ending.py), before or after training; perhaps
        # while something else was ending the run.
        before = interrupt.__context__
        os._exit(told(before if isinstance(before, UserError) else Interrupted(AGAIN)))


def told(error: UserError) -> int:
    """Prints it, with what else failed on the way out; returns its exit code."""
    notes = (note for note in getattr(error, "__notes__", ()) if JAX_NOTE not in note)
    more = "".join(f"\n  also: {note}" for note in notes)
    # At once: several processes may share a terminal (launch/local.sh), and `print` writes the end
    # of the line on its own.
    sys.stderr.write(f"{type(error).__name__}: {error}{more}\n")
    sys.stderr.flush()
    return error.exit_code


def number(line: Line, name: str, kind: type[int] | type[float], allowed: Range) -> Any:
    """An option as a number of its range. Raises ConfigError."""
    written = line.flags[name]
    try:
        value = kind(written)
    except ValueError:
        value = math.nan
    if not allowed.contains(value):
        raise ConfigError(
            f"--{name} must be a number of type {kind.__name__}, {allowed}; "
            f"received {shown(written)}"
        )
    return value
