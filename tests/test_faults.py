"""The benchmark of injected faults at reduced size, with real processes, disks and signals."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def faults():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location("faults", BENCHMARKS / "faults.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "faults", module)
        spec.loader.exec_module(module)
        yield module


def may_mount(folder):
    command = ["mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


def test_each_fault_ends_as_specified(tmp_path):
    # Two devices: compiling for eight takes longer than the faults.
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    counts = {"pairs": 1, "moments": 1, "disks": 1, "outputs": 2}
    if not may_mount(tmp_path):
        counts |= {"disks": 0, "outputs": 0}
    command = [sys.executable, str(BENCHMARKS / "faults.py")]
    command += [f"--{name}={count}" for name, count in counts.items()]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": flags}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| 2 of 2 |" in done.stdout


@pytest.mark.parametrize(
    ("code", "stderr", "words"),
    [
        (None, "", ()),
        (1, "", ()),
        (74, "Traceback (most recent call last)", ()),
        (74, "config.json", ("metrics.jsonl",)),
    ],
)
def test_it_can_fail(faults, monkeypatch, capsys, code, stderr, words):
    run_exit = faults.Exit(code, 1.0, stderr)
    assert run_exit.mismatch(74, *words)
    assert not faults.Exit(74, 1.0, "metrics.jsonl").mismatch(74, "metrics.jsonl")

    def part(runs, count, draw):
        yield "a", 1.0, ""
        yield "b", 1.0, run_exit.mismatch(74, *words)

    monkeypatch.setattr(faults, "Runs", lambda folder: None)
    monkeypatch.setattr(faults, "PARTS", {"pairs": (part, 2)})
    monkeypatch.setattr(sys, "argv", ["faults.py"])
    assert faults.main() == 1
    assert "1 of 2" in capsys.readouterr().out
