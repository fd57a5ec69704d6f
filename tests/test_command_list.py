"""`python -m pretrain_jax` and the console script: a list of commands, and each of them by name."""

import subprocess
import sys

import pytest

from pretrain_jax import __main__ as dispatcher
from pretrain_jax import main


def test_the_commands_are_those_whose_docstring_shows_how_to_run_them(capsys):
    names = ["convert", "describe", "evaluate", "follow", "generate", "main", "predict", "report"]
    assert list(dispatcher.commands()) == names
    for words in ([], ["--help"], ["-h"]):
        assert dispatcher.main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        for name, line in dispatcher.commands().items():
            assert f"  {name:<10}{line}" in lines
        assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    "word, near",
    [("mian", "; did you mean main?"), ("--config=gpt2_nano", ""), ("", ""), ("__init__", "")],
)
def test_an_unknown_command_is_refused(capsys, word, near):
    assert dispatcher.main([word]) == 64
    error = capsys.readouterr().err
    assert error.startswith(f"ConfigError: the first argument must be a command; received {word!r}")
    assert near in error and error.endswith(
        "commands are convert, describe, evaluate, follow, generate, main, predict, report\n"
    )


def test_a_list_imports_no_jax():
    code = "import sys; from pretrain_jax.__main__ import main; main([]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "jax" not in done.stdout.split()


def test_a_command_runs_as_python_m_runs_it():
    command = [sys.executable, "-m", "pretrain_jax", "main"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout) == (0, f"{main.__doc__}\n")
    refused = subprocess.run([*command, "--nonsense"], capture_output=True, text=True)
    assert refused.returncode == 64 and "--nonsense" in refused.stderr


def test_a_reader_that_closes_the_pipe_is_no_error():
    shell = f"set -o pipefail; {sys.executable} -m pretrain_jax | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
