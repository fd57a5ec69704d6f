"""Real processes, joined by jax.distributed over loopback, with simulated devices."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_job

from pretrain_jax.cluster import hosts
from pretrain_jax.errors import ConfigError

LIMIT = 240


def start(count, config, workdirs, devices=8, each=None, places=None, **changes):
    """Starts `count` processes of one run with `devices` devices in total.

    each: further command-line words, by process number. places: working folders, by process number.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    if not isinstance(workdirs, list):
        workdirs = [workdirs] * count
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices // count}"
    started = []
    for number, workdir in enumerate(workdirs):
        command = [sys.executable, "-m", "pretrain_jax.main", f"--config={config}"]
        command += [f"--workdir={workdir}", "--wait=60"]
        if count > 1:
            command += [f"--coordinator={coordinator}", f"--processes={count}"]
            command += [f"--process={number}"]
        command += [f"--config.{key.replace('__', '.')}={value}" for key, value in changes.items()]
        started.append(
            subprocess.Popen(
                command + (each or {}).get(number, []),
                env={**os.environ, "XLA_FLAGS": flags},
                cwd=(places or {}).get(number),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def ended(started):
    """Exit codes and standard errors."""
    stderrs = [process.communicate(timeout=LIMIT)[1] for process in started]
    return [process.returncode for process in started], stderrs


def finished(started):
    codes, stderrs = ended(started)
    assert codes == [0] * len(started), stderrs


def losses(workdir):
    return np.array([row["train/loss"] for row in tiny_job.lines(workdir) if "train/loss" in row])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The workdir of 18 steps in one process."""
    folder = tmp_path_factory.mktemp("whole")
    finished(start(1, config, folder, train__steps=18))
    return folder


def test_a_run_moves_between_1_2_and_4_processes_and_other_meshes(config, whole, tmp_path):
    finished(start(2, config, tmp_path, train__steps=6, eval__sample_tokens=8))
    assert list(tmp_path.glob("tokenizer/*")) and (tmp_path / "loss.png").exists()
    assert ">>>" in (tmp_path / "samples.txt").read_text()
    finished(start(1, config, tmp_path, train__steps=12, mesh__data=1, mesh__fsdp=8))
    # Pairs of processes make the same rows, because they share them.
    shared = {"mesh__data": 1, "mesh__fsdp": 2, "mesh__sequence": 2, "mesh__tensor": 2}
    finished(start(4, config, tmp_path, train__steps=18, **shared))
    assert len(losses(whole)) == 18
    np.testing.assert_allclose(losses(tmp_path), losses(whole), rtol=1e-5)
    last = [rows[-1]["valid/loss"] for rows in map(tiny_job.lines, (tmp_path, whole))]
    assert last[0] == pytest.approx(last[1], rel=1e-5)


def test_a_signal_to_one_process_stops_all_at_the_same_saved_step(config, whole, tmp_path):
    started = start(2, config, tmp_path, train__steps=4000, optimizer__decay_steps=60)
    until = time.monotonic() + LIMIT
    while not (tmp_path / "metrics.jsonl").exists() or len(tiny_job.lines(tmp_path)) < 3:
        assert time.monotonic() < until and started[0].poll() is None, ended(started)
        time.sleep(0.1)
    started[1].send_signal(signal.SIGTERM)
    codes, stderrs = ended(started)
    assert codes == [75, 75], stderrs
    steps = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    assert all(f"stopped by SIGTERM and saved at step {steps[-1]} of 4000" in s for s in stderrs)
    expected = losses(whole)[: steps[-1]]
    np.testing.assert_allclose(losses(tmp_path)[: len(expected)], expected, rtol=1e-5)


def listening(pid):
    """(address, port), in hexadecimal, of the sockets that a process listens at."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {tuple(row[1].split(":")) for row in rows if row[3] == "0A" and row[9] in own}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are read from /proc")
def test_process_0_listens_at_the_address_of_the_coordinator_alone(config, tmp_path):
    started = start(2, config, tmp_path, train__steps=4000, optimizer__decay_steps=60)
    coordinator = next(word for word in started[0].args if word.startswith("--coordinator"))
    port = int(coordinator.rpartition(":")[2])
    seen, until = set(), time.monotonic() + LIMIT
    while not (tmp_path / "metrics.jsonl").exists():
        seen |= listening(started[0].pid)
        assert time.monotonic() < until and started[0].poll() is None, ended(started)
        time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    started[0].send_signal(signal.SIGTERM)
    assert ended(started)[0] == [75, 75]
    assert f"{port:04X}" in {at for _, at in seen}
    # 127.0.0.1, as IPv4 or inside IPv6; collectives between CPUs use other ports.
    assert all(where.endswith("0100007F") for where, _ in seen), seen


@pytest.mark.parametrize("host", [0, 1])
@pytest.mark.parametrize(
    ("what", "words", "code", "message"),
    [
        (
            "configurations",
            ["--config.optimizer.learning_rate=0.5"],
            64,
            "optimizer.learning_rate: process 0 has 0.",
        ),
        (
            "data",
            ["--config.data.cache_dir=/proc/nowhere"],
            64,
            "data.cache_dir must be writable",
        ),
        ("workdirs", ["--workdir=OTHER"], 74, "every process must have the same workdir"),
    ],
)
def test_a_mistake_on_one_host_ends_all_with_its_message(
    config, tmp_path, what, words, code, message, host
):
    words = [word.replace("OTHER", str(tmp_path / "other")) for word in words]
    begin = time.monotonic()
    codes, stderrs = ended(start(2, config, tmp_path / "run", each={host: words}, train__steps=2))
    assert time.monotonic() - begin < LIMIT / 2
    assert codes == [code, code], stderrs
    assert all(message in s for s in stderrs), stderrs
    assert all("Traceback" not in s for s in stderrs)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("host", [0, 1])
@pytest.mark.parametrize(
    ("text", "code", "message"),
    [(None, 66, "here.txt"), ("another text, " * 999, 65, "every process must have the same data")],
)
def test_files_that_are_missing_or_differ_on_one_host_end_all(
    config, tmp_path, host, text, code, message
):
    places = {number: tmp_path / str(number) for number in range(2)}
    for number, place in places.items():
        place.mkdir()
        if number != host or text:
            (place / "here.txt").write_text(text if number == host else "the same text, " * 999)
    source = {"data__source": "text:here.txt", "train__steps": 2}
    codes, stderrs = ended(start(2, config, tmp_path / "run", places=places, **source))
    assert codes == [code, code], stderrs
    assert all(message in s and "Traceback" not in s for s in stderrs), stderrs


def test_a_missing_host_is_named_within_the_timeout(config, tmp_path):
    begin = time.monotonic()
    present = start(3, config, tmp_path, each={number: ["--wait=10"] for number in range(3)})
    present[2].kill()
    codes, stderrs = ended(present)
    assert codes[:2] == [69, 69], stderrs
    assert all(
        "process 2 did not come: all 3 processes must be at 127.0.0.1:" in s for s in stderrs[:2]
    )
    assert time.monotonic() - begin < 60


def test_numbers_without_an_address_are_refused(config, tmp_path):
    done = tiny_job.run(config, tmp_path, "--processes=2", "--process=1")
    assert done.returncode == 64
    assert "--processes and --process need --coordinator=HOST:PORT" in done.stderr
    done = tiny_job.run(config, tmp_path, "--coordinator=a:1", "--processes=2", "--process=2")
    assert (
        "--process must be one of 0 .. --processes - 1; received --processes=2 --process=2"
        in done.stderr
    )


def test_a_late_process_is_named_from_the_coordination_services_message():
    template = (
        "DEADLINE_EXCEEDED: Barrier timed out. Id: data::0. This usually happens because.\n"
        "# of tasks that reached the barrier: 1/4.\nThe first task at the barrier: {0}. "
        "Some timed out task names:\n{1}\n{3}\n\n\nRPC: /xla.coordination.CoordinationService"
    )
    long = "/job:jax_worker/replica:0/task:"
    for text in (template.format(*"0123"), template.format(*(long + n for n in "0123"))):
        message = hosts.barrier_error(text, "the data", 5)
        assert "must reach 'the data' within 5 s; missing: 1, 3." in message
    assert "failed: UNAVAILABLE: gone" in hosts.barrier_error(
        "UNAVAILABLE: gone\nmore", "the data", 5
    )


BARRIER = """
import sys, time
from pretrain_jax.errors import HostMissing
from pretrain_jax.errors import ConfigError
from pretrain_jax.cluster import hosts
number = int(sys.argv[2])
group = hosts.join(sys.argv[1], 2, number, 100.0)
try:
    if number:
        time.sleep(6)
    with group.all_or_none("the text", 3.0):
        pass
except HostMissing as error:
    print(error)
"""


def test_a_process_that_hangs_is_named():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-c", BARRIER, address]
    started = [
        subprocess.Popen([*command, number], stdout=subprocess.PIPE, text=True) for number in "01"
    ]
    told = [process.communicate(timeout=LIMIT)[0] for process in started]
    assert "all processes must reach 'the text' within 3 s; missing: 1. See their logs" in told[0]


SLURM = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_NODELIST": "node[7-9]",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}


def test_slurms_environment_is_detected(monkeypatch):
    assert hosts.detect_cluster(5) == ("", 1, 0, None)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    coordinator, processes, process, local = hosts.detect_cluster(5)
    assert coordinator.startswith("node7:")
    assert (processes, process, local) == (3, 2, [0])


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_is_a_finite_number_of_seconds(timeout):
    with pytest.raises(ConfigError, match="--wait must be a number of seconds above 0"):
        hosts.join("", 1, 0, timeout)
