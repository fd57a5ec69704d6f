"""The jobs of launch/: their commands parse, and agree with the program's own options."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_job
import yaml

from pretrain_jax import command, errors, main
from pretrain_jax.composition import config

LAUNCH = Path(__file__).parents[1] / "launch"
SCRIPTS = ("local.sh", "slurm.sh", "tpu_vm.sh", "gke.sh")
RUN = [
    "--config=configs/gpt2_nano.py",
    "--workdir=/shared/runs/a b",
    "--config.data.source=text:/a b/*.jsonl",
    "--config.train.phases=((0, {'seq_len': 64}),)",
]


def script(name, *words, **environment):
    return subprocess.run(
        ["bash", str(LAUNCH / name), *words],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
    )


def dry(name, *words, **environment):
    """The commands that a script prints instead of running them, each as words."""
    done = script(name, "--dry-run", *words, **environment)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def understood(words):
    """What the program makes of `... python -m pretrain_jax.main OPTIONS`."""
    options = words[words.index("pretrain_jax.main") + 1 :]
    flags = {"workdir": "", "mode": "train", **main.HOSTS}
    line = command.parse(options, flags, choices={"mode": tuple(main.MODES)})
    assert line.config == "configs/gpt2_nano.py"
    assert line.flags["workdir"] == "/shared/runs/a b"
    assert dict(line.overrides)["data.source"] == "text:/a b/*.jsonl"
    found: Any = config.read(str(LAUNCH.parent / line.config), line.overrides)
    assert found.train.phases == ((0, {"seq_len": 64}),)
    return line


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_a_program_and_says_how_to_call_it(name):
    path = LAUNCH / name
    assert os.access(path, os.X_OK)
    text = path.read_text()
    assert (
        text.startswith("#!/usr/bin/env bash\n# ") and f"launch/{name} [--dry-run] [--help]" in text
    )
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0


@pytest.fixture
def submitted(tmp_path):
    """A PATH on which whatever could submit or begin a job only writes down that it was called."""
    calls, folder = tmp_path / "calls", tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun", "gcloud", "kubectl", "xpk", "python", "git"):
        stub = folder / name
        stub.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {calls}\n[ -p /dev/stdin ] && cat > /dev/null; true\n'
        )
        stub.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return path, lambda: calls.read_text().splitlines() if calls.exists() else []


CALLS = {name: [] for name in SCRIPTS} | {"tpu_vm.sh": ["run"]}
"""The words that come before the options of a run."""


@pytest.mark.parametrize("place", [0, 1, 2, -1])
@pytest.mark.parametrize("word", ["--help", "-h", "--dry-run"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_and_dry_run_submit_nothing_wherever_they_stand(name, word, place, submitted):
    path, calls = submitted
    words = [*CALLS[name], *RUN]
    words.insert(place if place >= 0 else len(words), word)
    done = script(name, *words, PATH=path)
    assert done.returncode == 0, done.stderr
    assert calls() == []
    if word == "--dry-run":
        assert "pretrain_jax.main" in done.stdout and "--dry-run" not in done.stdout
    else:
        assert f"launch/{name} [--dry-run]" in done.stdout and "set -euo" not in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--config=a.py", "--stepz=5"],
        ["--config=a.py", "--dry_run"],
        ["--config=a.py", "--dryrun"],
        ["--config=a.py", "-x"],
        ["--config=a.py", "stray"],
        ["--workdir=x"],
        [],
    ],
)
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_unknown_option_is_refused_and_submits_nothing(name, words, submitted):
    path, calls = submitted
    done = script(name, *CALLS[name], *words, PATH=path)
    assert done.returncode == 64 and name in done.stderr
    assert calls() == []


@pytest.mark.parametrize("name", ["slurm.sh", "gke.sh"])
def test_the_stubs_hear_what_is_submitted(name, submitted):
    path, calls = submitted
    assert script(name, *RUN, PATH=path).returncode == 0
    assert len(calls()) == 1


def test_the_scripts_know_every_option_of_the_program(submitted):
    path, _ = submitted
    for name, switch in (
        (n, n in main.SWITCHES) for n in ("workdir", "mode", *main.TRAIN, *main.COMPILE)
    ):
        for written in {name, name.replace("_", "-")}:
            words = [f"--{written}"] if switch else [f"--{written}", "x"]
            assert script("slurm.sh", "--dry-run", *RUN, *words, PATH=path).returncode == 0, written


def test_local_starts_every_process_with_its_number():
    lines = dry("local.sh", *RUN, PROCESSES="3", DEVICES="2", PORT="4567")
    assert [understood(words).flags["process"] for words in lines] == ["0", "1", "2"]
    for words in lines:
        flags = understood(words).flags
        assert (flags["coordinator"], flags["processes"]) == ("127.0.0.1:4567", "3")
        assert "JAX_PLATFORMS=cpu" in words
        (xla,) = (word for word in words if word.startswith("XLA_FLAGS="))
        assert xla.endswith("--xla_force_host_platform_device_count=2")


def test_local_ends_with_the_code_of_its_processes():
    done = script("local.sh", "--config=nowhere.py", PROCESSES="2", PATH=path_with_python())
    assert done.returncode == 66
    assert done.stderr.count("no such file: 'nowhere.py'") == 2


def test_local_trains(tmp_path):
    job, workdir = tiny_job.write(tmp_path), tmp_path / "run"
    words = [f"--config={job}", f"--workdir={workdir}", "--config.train.steps=3"]
    done = script("local.sh", *words, PROCESSES="2", DEVICES="1", PATH=path_with_python())
    assert done.returncode == 0, done.stderr
    assert "2 processes, 2 devices" in done.stderr
    assert tiny_job.lines(workdir)[-1]["step"] == 3


def path_with_python():
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def test_slurm_requeues_what_was_saved_and_nothing_else():
    (words,) = dry("slurm.sh", *RUN, NODES="4", GPUS="2", SBATCH="--partition=a --account=b")
    assert words[0] == "sbatch"
    assert {"--nodes=4", "--ntasks-per-node=2", "--gpus-per-node=2"} <= set(words)
    assert {"--signal=TERM@120", "--requeue", "--partition=a", "--account=b"} <= set(words)
    (wrap,) = (word.removeprefix("--wrap=") for word in words if word.startswith("--wrap="))
    assert subprocess.run(["bash", "-n", "-c", wrap]).returncode == 0
    run, _, rest = wrap.partition(";")
    assert shlex.split(run)[0] == "srun"
    understood(shlex.split(run))
    for code, calls, ending in ((75, "requeue 77", 0), (0, "", 0), (64, "", 64)):
        shell = f"srun() {{ return {code}; }}; scontrol() {{ echo $@; }}; {wrap}"
        done = subprocess.run(
            ["bash", "-c", shell],
            capture_output=True,
            text=True,
            env={**os.environ, "SLURM_JOB_ID": "77"},
        )
        assert (done.stdout.strip(), done.returncode) == (calls, ending)
    assert rest


@pytest.mark.parametrize(
    ("action", "verbs"),
    [
        ("create", ["create"]),
        ("install", ["scp", "ssh", "ssh", "ssh"]),
        ("run", ["ssh"]),
        ("delete", ["delete"]),
        ("stay", ["create", "scp", "ssh", "ssh", "ssh", "ssh"]),
    ],
)
def test_tpu_vm_does_each_part_alone_and_stay_does_them_all(action, verbs):
    run = RUN if action in ("run", "stay") else []
    made = dry("tpu_vm.sh", action, *run, NAME="xl", ZONE="z")
    lines = [words for words in made if words[0] != "git"]
    assert all(words[:4] == ["gcloud", "compute", "tpus", "tpu-vm"] for words in lines)
    assert [words[4] for words in lines] == verbs
    assert all("--zone=z" in words for words in lines)
    for words in lines:
        for word in words:
            if "pretrain_jax.main" in word:
                understood(shlex.split(word.removeprefix("--command=")))
    trains = any("pretrain_jax.main" in word for words in lines for word in words)
    assert trains == (action in ("run", "stay"))


def test_tpu_vm_names_its_actions():
    done = script("tpu_vm.sh", "--dry-run", "start")
    assert done.returncode == 64 and "create|install|run|stay|delete" in done.stderr


def test_gke_is_a_jobset_with_the_command_of_the_run():
    quoted = [*RUN, '--config.data.text_key=a"b\\c']
    done = script("gke.sh", "--dry-run", *quoted, NAME="xl", HOSTS="8", SLICES="2", CHIPS="4")
    manifest, _, last = done.stdout.rpartition("kubectl")
    assert last.split() == ["apply", "-f", "-"]
    job = yaml.safe_load(manifest)
    assert (job["kind"], job["metadata"]["name"]) == ("JobSet", "xl")
    (replicated,) = job["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 2
    inner = replicated["template"]["spec"]
    assert inner["parallelism"] == inner["completions"] == 8
    (container,) = inner["template"]["spec"]["containers"]
    assert container["command"][:3] == ["python", "-m", "pretrain_jax.main"]
    assert container["command"][3:] == quoted
    assert dict(understood(container["command"]).overrides)["data.text_key"] == 'a"b\\c'
    (rule,) = inner["podFailurePolicy"]["rules"]
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.UserError)
    }
    # What a restart may mend: a missing host, a signal.
    assert set(rule["onExitCodes"]["values"]) == codes - {69, 75}
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
