"""Options of a config file for devices override the file; the command line overrides them."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import tiny_job

from pretrain_jax import describe, main
from pretrain_jax.composition import config, presets
from pretrain_jax.errors import ConfigError
from pretrain_jax.planning import aot


@dataclass(frozen=True)
class Device:
    """The attributes of a device."""

    device_kind: str
    platform: str = "tpu"
    slice_index: int = 0


POD = '\nPODS = {"v5p:2x2x2": {"mesh.fsdp": 4, "train.accumulate": 2}, "v5e:2x2": {}}\n'
EIGHT = [Device("TPU v5")] * 8


@pytest.fixture
def job(tmp_path):
    path = tiny_job.write(tmp_path)
    path.write_text(path.read_text() + POD)
    return path


@pytest.mark.parametrize(
    ("devices", "simulated", "name"),
    [
        (EIGHT, "", "v5p:2x2x2"),
        ([Device("TPU v5p")] * 8, "", "v5p:2x2x2"),
        (EIGHT[:4], "", ""),
        ([Device("TPU v5 lite")] * 4, "", "v5e:2x2"),
        ([Device("TPU v5", slice_index=n % 2) for n in range(8)], "", ""),
        ([Device("cpu", "cpu")] * 16, "NVIDIA H100", "h100:2x8"),
        ([Device("NVIDIA H100 80GB HBM3", "gpu", n // 8) for n in range(16)], "", "h100:2x8"),
        ([Device("TPU v3")] * 8, "", "v3:2x2"),
        ([Device("cpu", "cpu")] * 8, "", ""),
    ],
)
def test_devices_are_known_by_kind_and_number(devices, simulated, name):
    named = {"v5p:2x2x2": {}, "v5e:2x2": {}, "h100:2x8": {}, "v3:2x2": {}}
    assert presets.match_topology(named, devices, simulated) == name


def test_the_preset_is_over_the_file_and_under_the_command_line(job, caplog):
    caplog.set_level("INFO")
    options = config.device_options(str(job), [("mesh.fsdp", "2")], EIGHT)
    assert options == {"train.accumulate": 2}
    settings: Any = config.read(str(job), [("mesh.fsdp", "2")], options)
    assert (settings.mesh.fsdp, settings.train.accumulate) == (2, 2)
    assert "v5p:2x2x2" in caplog.text and "train.accumulate=2" in caplog.text
    origins = config.value_origins(str(job), [("mesh.fsdp", "2")], settings.to_dict(), options)
    assert origins["train.accumulate"] == "pod" and origins["mesh.fsdp"] == "command line"
    assert config.device_options(str(job), [], EIGHT[:1]) == {}


def test_a_run_that_has_begun_keeps_all_but_its_mesh():
    named = {"v5p:2x2x2": {"mesh.fsdp": 4, "train.accumulate": 2}}
    begun = {"mesh": {"fsdp": 8}, "train": {"accumulate": 1}}
    assert presets.select_options(named, "v5p:2x2x2", begun) == {
        "mesh.fsdp": 4,
        "train.accumulate": 1,
    }
    assert presets.select_options(named, "", begun) == {"train.accumulate": 1}


@pytest.mark.parametrize(
    "text",
    [
        "PODS = 3",
        'PODS = {"v5p:2x2x2": 3}',
        'PODS = {"v5p:2x2": {}}',
        'PODS = {"v5p:2x2x2": {"mash.data": 1}}',
        'PODS = {"v5p:2x2x2": {"mesh": 1}}',
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text):
    path = tiny_job.write(tmp_path)
    path.write_text(f"{path.read_text()}\n{text}\n")
    with pytest.raises(ConfigError):
        config.device_options(str(path), [], EIGHT)


def test_a_key_that_is_none_is_refused(tmp_path):
    path = tiny_job.write(tmp_path)
    path.write_text(path.read_text() + '\nPODS = {"v5p:2x2x2": {"mesh.date": 4}}\n')
    with pytest.raises(ConfigError, match=r"mesh\.date"):
        config.read(str(path), [], config.device_options(str(path), [], EIGHT))


def test_the_commands_take_it(job, tmp_path, monkeypatch, capsys):
    """Treats the eight simulated CPUs of these tests as a pod."""
    monkeypatch.setattr(presets, "match_topology", lambda named, devices, simulated="": "v5p:2x2x2")
    taken = []
    report = lambda settings, *_: taken.append(settings) or {}  # noqa: E731
    monkeypatch.setattr(aot, "report_config", report)
    monkeypatch.setattr(aot, "print_report", lambda *_: None)
    assert main.main([f"--config={job}", "--mode=compile"]) == 0
    assert (taken[0].mesh.fsdp, taken[0].train.accumulate) == (4, 2)
    run = tmp_path / "run"
    line = [f"--config={job}", f"--workdir={run}", "--config.train.batch_size=16"]
    line += ["--config.eval.sample_tokens=0", "--config.eval.tokens=100"]
    assert main.main([*line, "--config.train.steps=1"]) == 0
    stored = json.loads((run / "config.json").read_text())
    assert (stored["mesh"]["fsdp"], stored["train"]["accumulate"]) == (4, 2)
    monkeypatch.setattr(presets, "match_topology", lambda named, devices, simulated="": "")
    assert main.main([*line, "--config.train.steps=2"]) == 0  # on other devices
    monkeypatch.undo()
    capsys.readouterr()
    assert describe.main([f"--config={job}"]) == 0
    assert " file " in capsys.readouterr().out
