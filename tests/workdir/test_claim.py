"""Only one process writes to a workdir, with one config."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
from etils import epath

from pretrain_jax.errors import DataError, UnwritableWorkdir, WorkdirInUse, WorkdirMismatch
from pretrain_jax.workdir import history, lock
from pretrain_jax.workdir.claim import claim, owner
from pretrain_jax.workdir.run_config import compare_configs, read_config, write_config

HOLD = """
import os, sys, time
from pretrain_jax.workdir.claim import claim
with claim(sys.argv[1]):
    if sys.argv[2] == "fork" and os.fork() == 0:
        print(os.getpid(), flush=True)
        os.close(1)
        os.close(2)
        time.sleep(60)
    if sys.argv[2] == "alone":
        print("held", flush=True)
    time.sleep(60)
"""


def holder(workdir, how="alone"):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, workdir, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_live_process_is_named_and_a_killed_one_is_taken_over(tmp_path):
    process, _ = holder(tmp_path)
    try:
        with pytest.raises(WorkdirInUse) as refused, claim(tmp_path):
            pass
        assert f"process {process.pid} on {os.uname().nodename} since 2" in str(refused.value)
        assert refused.value.exit_code == 82
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with claim(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_bytes())["pid"] == os.getpid()


def test_reading_who_holds_the_workdir_does_not_let_go_of_it(tmp_path):
    """Closing any descriptor of a file releases the POSIX locks of the process."""
    with claim(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()
        (tmp_path / "run.lock").read_text()
        process, output = holder(tmp_path)
        process.kill()
        _, errors = process.communicate()
        assert output == "" and "WorkdirInUse" in errors
    assert not lock._held


def test_an_older_version_that_holds_a_posix_lock_is_respected(tmp_path):
    program = (
        "import fcntl, sys, time\nlock = open(sys.argv[1], 'w')\n"
        "fcntl.lockf(lock, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "run.lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as older:
        assert older.stdout is not None and older.stdout.readline() == "held\n"
        with pytest.raises(WorkdirInUse), claim(tmp_path):
            pass
        older.kill()


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "fcntl", no_locks)
    with pytest.raises(UnwritableWorkdir, match="file system with locks"), claim(tmp_path):
        pass


def test_an_orphan_of_a_killed_process_does_not_hold_the_workdir(tmp_path):
    process, orphan = holder(tmp_path, "fork")
    try:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        os.kill(int(orphan), 0)
        with claim(tmp_path):
            pass
    finally:
        os.kill(int(orphan), signal.SIGKILL)


def test_a_claim_ends_with_its_block_even_by_an_error(tmp_path):
    with pytest.raises(KeyError), claim(tmp_path / "runs" / "new") as workdir:
        raise KeyError
    process, output = holder(workdir)
    process.kill()
    process.communicate()
    assert output == "held"


def test_a_lock_file_left_empty_by_a_crash_is_no_obstacle(tmp_path):
    (tmp_path / "run.lock").write_text("")
    with claim(tmp_path):
        pass


def make_file(path):
    path.write_text("")
    return path


def make_loop(path):
    path.symlink_to(path)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_file, "File exists"),
        (lambda path: make_file(path) / "inside", "Not a directory"),
        (make_loop, "symbolic links|File exists"),
        (lambda path: path / ("x" * 300), "File name too long"),
    ],
)
def test_an_unwritable_workdir_is_refused_with_the_reason(tmp_path, make, reason):
    path = make(tmp_path / "w")
    with pytest.raises(UnwritableWorkdir, match=reason) as refused, claim(path):
        pass
    assert str(path) in str(refused.value)
    assert "Choose another --workdir" in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_workdir_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UnwritableWorkdir, match="Permission denied"), claim(tmp_path):
        pass


def test_a_probe_leaves_no_file(tmp_path):
    with claim(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


STORED = {
    "seed": 0,
    "train": {"steps": 100, "phases": [[50, {"seq_len": 512}]]},
    "mesh": {"data": -1},
    "optimizer": {"learning_rate": 3e-4, "betas": [0.9, 0.95], "nesterov": False},
    "old": {"key": 1},
}


def test_every_differing_key_is_named_with_both_values():
    now = {
        "seed": 0,
        "train": {"steps": 200, "phases": [[60, {"seq_len": 512}]]},
        "mesh": {"data": 2, "fsdp": 4},
        "optimizer": {"learning_rate": 0.1 + 0.2, "betas": [0.9, 0.95], "nesterov": 0},
        "model": {"name": "gpt"},
    }
    with pytest.raises(WorkdirMismatch) as refused:
        compare_configs(STORED, now)
    assert refused.value.exit_code == 78
    first, *lines, last = str(refused.value).splitlines()
    assert "5 keys differ" in first
    assert lines == [
        '  model.name: stored (absent), now "gpt"',
        "  old.key: stored 1, now (absent)",
        "  optimizer.learning_rate: stored 0.0003, now 0.30000000000000004",
        "  optimizer.nesterov: stored false, now 0",
        '  train.phases: stored [[50, {"seq_len": 512}]], now [[60, {"seq_len": 512}]]',
    ]
    assert "another --workdir, or undo the change" in last


@pytest.mark.parametrize(
    "key", ["train.steps", "mesh.x", "checkpoint.keep", "eval.every", "data.cache_dir"]
)
def test_free_keys_may_change_appear_and_vanish(key):
    section, name = key.split(".")
    compare_configs({section: {name: 1}}, {section: {name: 2}})
    compare_configs({}, {section: {name: 2}})
    compare_configs({section: {name: 1}}, {})


def test_a_float_that_differs_in_its_last_bit_differs():
    with pytest.raises(WorkdirMismatch, match=r"a: stored 0.3, now 0.30000000000000004"):
        compare_configs({"a": 0.3}, {"a": 0.1 + 0.2})


def test_the_same_config_after_a_round_trip_through_json(tmp_path):
    config = {"b": (1, 2, (3,)), "a": {"rate": 0.1 + 0.2, "n": 1.0, "none": None, "empty": {}}}
    write_config(tmp_path, config)
    stored = read_config(tmp_path)
    assert stored is not None
    assert stored["a"]["rate"] == 0.1 + 0.2
    compare_configs(stored, config)
    compare_configs(stored, config | {"a": config["a"] | {"n": 1}})


def test_the_config_is_written_sorted_and_atomically(tmp_path):
    assert read_config(tmp_path) is None
    write_config(tmp_path, {"b": 1, "a": {"y": 2, "x": 3}})
    text = (tmp_path / "config.json").read_text()
    assert text == '{\n  "a": {\n    "x": 3,\n    "y": 2\n  },\n  "b": 1\n}\n'
    with pytest.raises(TypeError):
        write_config(tmp_path, {"a": 1, "b": object()})
    assert (tmp_path / "config.json").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "saved.json"])
def test_what_is_no_regular_file_is_never_read(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UnwritableWorkdir, match=name):
        history.check_not_lost(epath.Path(tmp_path), 0, every=10, go_back=False)


def test_a_torn_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"config.json must hold a JSON object"):
        read_config(tmp_path)
