"""A closed pipe, numbers of options, and a config that comes from a workdir."""

import json
import subprocess
import sys

import pytest
import tiny_job

from pretrain_jax import command, generate, main
from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.tokenizers import chars
from pretrain_jax.training import loop

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 2 steps over 20 characters: fewer ids than generate's top_k."""
    folder = tmp_path_factory.mktemp("few")
    job = tiny_job.write(folder)
    names = [("tokenizer.name", "chars"), ("train.steps", "2"), ("eval.sample_tokens", "0")]
    loop.train(config.read(str(job), names), str(folder / "run"))
    return folder / "run"


def test_generate_samples_where_there_are_fewer_ids_than_top_k(trained, capsys):
    assert len(json.loads((trained / "tokenizer" / chars.FILE).read_text())) < 50
    assert generate.main([f"--workdir={trained}", "--prompt=the ", "--tokens=4"]) == 0
    assert capsys.readouterr().out.startswith("the ")


@pytest.mark.parametrize(
    "option",
    [
        *("--temperature=nan", "--temperature=inf", "--temperature=-1", "--temperature=1e300"),
        *("--seed=99999999999999999999", "--seed=-1", "--seed=1.5", "--top-k=-1", "--tokens=0"),
        *("--tokens=2147483648", "--top_k=" + "9" * 5000),
    ],
)
def test_generate_refuses_numbers_out_of_range(option, tmp_path):
    name = option[2:].partition("=")[0].replace("-", "_")
    with pytest.raises(ConfigError, match=f"--{name} must be a number"):
        generate.main([f"--workdir={tmp_path}", option])


def test_generate_uses_all_bits_of_a_seed(trained, capsys):
    texts = set()
    for seed in (0, 2**32, 2**64 - 1):
        generate.main([f"--workdir={trained}", "--tokens=30", f"--seed={seed}"])
        texts.add(capsys.readouterr().out)
    assert len(texts) == 3


@pytest.mark.parametrize("option", ["--processes=0", "--process=-1", "--wait=nan", "--wait=-1"])
def test_main_refuses_numbers_out_of_range(option):
    with pytest.raises(ConfigError, match="must be a number of type"):
        main.main(["--config=configs/gpt2_nano.py", option])


def test_a_workdir_is_evaluated_with_the_config_that_lies_there(trained, capsys):
    assert main.main(["--mode=eval", f"--workdir={trained}"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["step"] == 2
    main.main(["--mode=eval", f"--workdir={trained}", "--config.eval.tokens=50"])
    assert json.loads(capsys.readouterr().out)["valid/tokens"] < whole["valid/tokens"]


def test_only_evaluation_takes_its_config_from_a_workdir(trained, tmp_path):
    with pytest.raises(ConfigError, match="--config must name a config"):
        main.main([f"--workdir={trained}"])
    with pytest.raises(ConfigError, match="--mode=eval needs the workdir of a run"):
        main.main(["--mode=eval"])
    with pytest.raises(InputMissing, match=r"no config\.json"):
        main.main(["--mode=eval", f"--workdir={tmp_path}"])


@pytest.mark.parametrize("lines", [2000, 3])
def test_a_reader_that_has_seen_enough_ends_a_command_quietly(lines):
    program = f"""
from pretrain_jax import command

def main(argv):
    for number in range({lines}):
        print("a line of some length, so that the pipe is full before the end", number)
    return 0

raise SystemExit(command.run(main, ""))
"""
    shell = f"set -o pipefail; {sys.executable} -c '{program}' | head -n 1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1 and done.stderr == "" and done.returncode == 0


def test_an_error_is_written_at_once(monkeypatch):
    """Lines of several processes on one terminal then stay lines."""
    written = []

    class Terminal:
        write = staticmethod(written.append)
        flush = staticmethod(lambda: None)

    monkeypatch.setattr(sys, "stderr", Terminal)
    assert command.report_error(ConfigError("one line\nand another")) == 64
    assert written == ["ConfigError: one line\nand another\n"]
