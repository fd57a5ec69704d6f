"""A log or a result that cannot be written, and terminals that are closed: real processes."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tiny_job

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("job"))


def start(job, workdir, *options, **streams):
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config={job}"]
    return subprocess.Popen([*command, f"--workdir={workdir}", *options], text=True, **streams)


def test_a_log_that_is_lost_stops_no_training(job, tmp_path):
    """Its reader goes away after a line; then, on a full disk, nothing of it can be written."""
    short, longer = "--config.train.steps=6", "--config.train.steps=8"
    with start(job, tmp_path / "run", short, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None and process.stderr.readline()
        process.stderr.close()
        assert process.wait(timeout=120) == 0
    assert (tmp_path / "run" / "checkpoints" / "6").exists()
    with open("/dev/full", "w") as full:
        assert start(job, tmp_path / "run", longer, stderr=full).wait(timeout=120) == 0
    assert (tmp_path / "run" / "checkpoints" / "8").exists()
    with open("/dev/full", "w") as full:
        last = ("--mode=eval", longer)
        process = start(job, tmp_path / "run", *last, stdout=full, stderr=subprocess.PIPE)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 74 and "Traceback" not in stderr and "standard output" in stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_terminal_that_is_closed_costs_nothing(job, tmp_path, number):
    workdir = tmp_path / "run"
    ignored = signal.signal(number, signal.SIG_DFL)  # nohup makes the processes ignore SIGHUP
    process = start(job, workdir, "--config.train.steps=100000", stderr=subprocess.PIPE)
    signal.signal(number, ignored)
    try:
        end = time.monotonic() + 120
        while not (workdir / "metrics.jsonl").exists() or not tiny_job.losses(workdir):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        assert process.stderr is not None
        process.stderr.close()
        process.send_signal(number)
        assert process.wait(timeout=60) == 75
    finally:
        process.kill()
    saved = max(int(name) for name in os.listdir(workdir / "checkpoints"))
    assert saved == max(tiny_job.losses(workdir))


def test_an_empty_workdir_is_refused(job):
    assert start(job, "", stderr=subprocess.DEVNULL).wait(timeout=60) == 64
