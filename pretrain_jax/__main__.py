"""Runs one of the commands of the package, or lists them.

    pretrain-jax [COMMAND [options]]
    python -m pretrain_jax [COMMAND [options]]

A module of the package is a command when its docstring shows `python -m pretrain_jax.MODULE`.
`pretrain-jax MODULE` does the same. Exit codes: 0 for the list, 64 for an unknown command,
otherwise the command's own.
"""

import ast
import contextlib
import runpy
import sys
from pathlib import Path

from pretrain_jax import command, registry
from pretrain_jax.errors import ConfigError, UnwritableOutput, short_repr
from pretrain_jax.process import shutdown, stdio

HELP = ("--help", "-h")


def commands() -> dict[str, str]:
    """The name of each command and the first line of its docstring. Imports none of them.

    >>> commands()["generate"]
    'Generate text with the last checkpoint of a run.'
    """
    lines = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        if f"python -m pretrain_jax.{file.stem} " in text:
            lines[file.stem] = text.partition("\n")[0]
    return lines


def listing() -> str:
    """The list of commands, one line each."""
    lines = [f"  {name:<10}{line}" for name, line in commands().items()]
    return "\n".join(
        [
            "usage: pretrain-jax COMMAND [options]",
            "",
            *lines,
            "",
            "pretrain-jax COMMAND --help lists the options of a command.",
        ]
    )


def show(text: str) -> int:
    """Prints the text; returns the exit code. A reader that closes the pipe early is no error."""
    with contextlib.suppress(BrokenPipeError):
        try:
            print(text, file=stdio.guard_result(sys.stdout), flush=True)
        except UnwritableOutput as error:
            return command.report_error(error)
    return 0


def main(argv: list[str]) -> int:
    """Runs the command that the first argument names; returns the exit code."""
    if not argv or argv[0] in HELP:
        return show(listing())
    name, *options = argv
    known = commands()
    if name not in known:
        near = registry.did_you_mean(name, known)
        return command.report_error(
            ConfigError(
                f"the first argument must be a command; received {short_repr(name)}{near}; "
                f"commands are {', '.join(known)}"
            )
        )
    sys.argv = [name, *options]
    runpy.run_module(f"pretrain_jax.{name}", run_name="__main__", alter_sys=True)
    return 0  # not reached: a command ends with sys.exit


def script() -> int:
    """The console script `pretrain-jax`. A signal ends it at once, as with `python -m`."""
    shutdown.exit_on_signals()
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
