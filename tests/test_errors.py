"""What goes wrong at the command line: the exit code, the invariant, what was received, the fix.

All of it before anything is compiled, and never with a traceback.
"""

import os
import subprocess
import sys

import pytest
import tiny_job

from pretrain_jax import command, main


@pytest.fixture
def end(monkeypatch, capsys, tmp_path):
    """Runs the command in this process; gives its exit code and its standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["main", *map(str, arguments)])
        monkeypatch.setattr("pretrain_jax.xla.malloc.keep_freed_memory", lambda: False)
        monkeypatch.setattr("pretrain_jax.training.loop.Loop.run", compiled_nothing)
        code = command.run(main.main, main.__doc__)
        return code, capsys.readouterr().err

    return run


def compiled_nothing(*_):
    raise AssertionError("the loop was reached")


@pytest.fixture
def job(tmp_path):
    return tiny_job.write(tmp_path)


def options(job, *more):
    return [f"--config={job}", f"--workdir={job.parent / 'run'}", *more]


LLAMA = ["--config.model.name=llama", "--config.model.kv_heads=2"]
WRONG_CONFIGS = {
    "unknown key": (["--config.train.step=5"], ["unknown key", "train.step", "did you mean steps"]),
    "unknown section": (["--config.optimiser.name=adamw"], ["optimiser", "did you mean optimizer"]),
    "unknown model": (["--config.model.name=gtp"], ["model.name", "'gtp'", "did you mean gpt"]),
    "unknown optimizer": (["--config.optimizer.name=adam"], ["did you mean adamw"]),
    "unknown objective": (["--config.objective.name=causal"], ["did you mean causal_lm"]),
    "wrong type": (["--config.train.steps=many"], ["train.steps", "int", "'many'"]),
    "unknown option": (["--wordkir=x"], ["--wordkir", "did you mean workdir"]),
    "stray argument": (["train"], ["'train'", "begins with --"]),
    "batch over the mesh": (
        ["--config.train.batch_size=12"],
        ["train.batch_size must be a multiple", "8 x 1", "received 12", "8 or 16"],
    ),
    "heads over the mesh": (
        ["--config.mesh.tensor=4", "--config.model.heads=2"],
        ["heads axis", "has 2 entries", "mesh.tensor=4", "nearest sizes that divide are 1, 2"],
    ),
    "key heads over the mesh": (
        ["--config.mesh.tensor=4", "--config.mesh.data=2", *LLAMA, "--config.model.heads=4"],
        ["attention/key/kernel has 2 entries", "mesh.tensor=4", "sizes that divide are 1, 2"],
    ),
    "key heads over the heads": (
        ["--config.model.heads=8", *LLAMA, "--config.model.kv_heads=3"],
        ["multiple of model.kv_heads", "heads=8, kv_heads=3", "kv_heads are 1, 2, 4"],
    ),
    "an odd head width": (
        [*LLAMA, "--config.model.head_width=5"],
        ["even width", "received 5", "Set model.head_width=6"],
    ),
    "rotary bounds": (
        [*LLAMA, "--config.model.rope_scaling=llama3", "--config.model.rope_low_freq_factor=4"],
        ["rope_low_freq_factor must be below", "received 4 and 4", "LLaMA 3.1 has 1 and 4"],
    ),
    "unknown scaling": (
        [*LLAMA, "--config.model.rope_scaling=lama3"],
        ["model.rope_scaling", "'lama3'", "did you mean llama3"],
    ),
    "width over the mesh": (
        ["--config.mesh.data=1", "--config.mesh.fsdp=8", "--config.model.width=12"],
        ["width axis", "has 12 entries", "mesh.fsdp=8"],
    ),
    "mesh and devices": (["--config.mesh.tensor=3"], ["number of devices, 8", "mesh.tensor=3"]),
    "sequence over the table": (
        ["--config.data.seq_len=32"],
        ["model.max_length", "received 32 and 16", "data.seq_len=16"],
    ),
    "tokenizer over the model": (
        ["--config.model.vocab_size=200"],
        ["model.vocab_size", "262", "200"],
    ),
    "warm-up and nothing": (["--config.optimizer.learning_rate=-1"], ["0 or more", "-1"]),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_a_wrong_config(end, job, case):
    arguments, parts = WRONG_CONFIGS[case]
    code, errors = end(*options(job, *arguments))
    assert code == 64
    for part in parts:
        assert part in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (["--config.model.vocab_size=2147483647"], {64}),
        (["--config.model.vocab_size=1000000000", "--config.model.width=65536"], {71}),
        (["--config.model.width=2147483647"], {64}),  # a prime: no heads divide it
        (["--config.model.layers=2147483647"], {71}),
        (["--config.model.name=t5", "--config.model.head_width=8", "--config.data.seq_len=1000000",
          "--config.objective.name=span_corruption", "--config.tokenizer.sentinels=9"], {71}),
        (["--config.optimizer.warmup_steps=9223372036854775808"], {64}),
        (["--config.seed=18446744073709551616"], {64}),
        (["--config.optimizer.eps=1e400"], {64}),
    ],
)  # fmt: skip
def test_wild_sizes_end_at_once_with_a_sentence(end, job, words, codes):
    code, errors = end(*options(job, *words))
    assert code in codes and "Traceback" not in errors and len(errors) > 40


def test_25_heads_name_the_nearest_legal_meshes(end, job):
    xl = ["--config=configs/gpt2_xl.py", f"--workdir={job.parent / 'run'}"]
    mesh = ["--config.mesh.data=1", "--config.mesh.fsdp=4", "--config.mesh.tensor=2"]
    code, errors = end(*xl, *mesh)
    assert code == 64
    assert "heads axis" in errors and "25 entries" in errors and "1, 5" in errors


def test_no_file_matches(end, job):
    code, errors = end(*options(job, f"--config.data.source=text:{job.parent}/*.text"))
    assert code == 66
    assert "*.text" in errors and "corpus.jsonl" in errors  # what is there instead


def test_an_empty_corpus(end, job):
    (job.parent / "empty.txt").write_text("")
    code, errors = end(*options(job, f"--config.data.source=text:{job.parent}/empty.txt"))
    assert code == 65 and "have no text" in errors


def test_invalid_utf8_names_file_and_byte(end, job):
    (job.parent / "bad.txt").write_bytes(b"good text " * 5 + b"\xff")
    code, errors = end(*options(job, f"--config.data.source=text:{job.parent}/bad.txt"))
    assert code == 65 and "bad.txt" in errors and "byte 50" in errors and "UTF-8" in errors


def test_a_config_that_is_not_there(end, job):
    code, errors = end(f"--config={job.parent}/tinny.py")
    assert code == 66 and "did you mean" in errors and "tiny.py" in errors


def test_a_workdir_that_cannot_be_written_to(end, job):
    (job.parent / "file").write_text("in the way")
    code, errors = end(f"--config={job}", f"--workdir={job.parent}/file/run")
    assert code == 74 and "Choose another --workdir" in errors


def test_a_workdir_of_another_config(end, job):
    from pretrain_jax.workdir import run_config

    (job.parent / "run").mkdir()
    run_config.write_config(job.parent / "run", {"seed": 3, "train": {"steps": 1, "batch_size": 4}})
    code, errors = end(*options(job))
    assert code == 78 and "train.batch_size: stored 4, now 8" in errors


def test_a_workdir_in_use(end, job):
    import subprocess

    program = (
        "import sys\nfrom pretrain_jax.workdir import claim\n"
        f"with claim.claim({str(job.parent / 'run')!r}):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "held\n"
        code, errors = end(*options(job))
        other.stdin.close()
    assert code == 82 and str(other.pid) in errors
    assert os.path.isdir(job.parent / "run")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 75, "Interrupted: by Ctrl-C; there was nothing to save; start the same command"),
        (["nan"], 81, "NonFinite: loss nan"),  # what was ending the run already
    ],
)
def test_an_interrupt_before_training_ends_at_once_in_words(words, code, message):
    """Although another thread, as of the compiler, goes on."""
    program = """
import threading, time
from pretrain_jax import command, errors

def main(argv):
    threading.Thread(target=time.sleep, args=(60,)).start()
    try:
        if argv:
            raise errors.NonFinite("loss nan")
    finally:
        raise KeyboardInterrupt

command.run(main, "")
"""
    interrupted = [sys.executable, "-c", program, *words]
    done = subprocess.run(interrupted, capture_output=True, text=True, timeout=50)
    assert done.returncode == code
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_slices_are_of_a_topology(end, job):
    code, message = end(*options(job, "--mode=compile", "--slices=4"))
    assert code == 64
    assert "--slices=4 needs a --topology" in message
