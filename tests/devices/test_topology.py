"""Compile-only devices: names are checked first, then libtpu or the CUDA plugin is called."""

import importlib.util
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pretrain_jax.devices import gpus, topology
from pretrain_jax.errors import ConfigError
from pretrain_jax.sharding import mesh

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: the extra tpu"
)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("v5e:4x4", ("v5e", (4, 4))),
        ("TPU7x:2x2x1", ("tpu7x", (2, 2, 1))),
        ("H100:2x8", ("h100", (2, 8))),
        ("h200:8", ("h200", (1, 8))),
    ],
)
def test_names(name, expected):
    assert topology.parse(name) == expected


@pytest.mark.parametrize(
    "name, message",
    [
        ("v5q:4x4", r"must begin with a TPU generation .* received 'v5q:4x4'; did you mean v5"),
        ("", "must begin with a TPU generation"),
        ("v5e:4x4x4", "a v5e topology must have 2 sides, as in v5e:4x4; received 'v5e:4x4x4'"),
        ("v5p:4x4", "a v5p topology must have 3 sides"),
        ("v5p:4x4x0", "a v5p topology must have 3 sides"),
        ("v5p:axbxc", "a v5p topology must have 3 sides"),
        (
            "h10:8",
            r"or with a GPU \(a100, h100, h200\), as in h100:2x8; received 'h10:8'; did you",
        ),
        ("h100:2x2x2", "a h100 topology must have 2 sides"),
        ("h100:1024x8", "must have at most 4096 GPUs; received 'h100:1024x8', 8192"),
    ],
)
def test_invalid_names_are_refused_without_libtpu(name, message):
    with pytest.raises(ConfigError, match=message):
        topology.compile_only_devices(name)


@pytest.mark.parametrize(
    "version, message",
    [("0.0.1.2", "requires libtpu==.* libtpu 0.0.1.2 is installed"), ("9.9.1", "")],
)
def test_a_libtpu_of_another_release_is_reported(monkeypatch, version, message):
    versions = {"jax": "9.9", "libtpu": version}
    monkeypatch.setattr(topology.metadata, "version", versions.__getitem__)
    requirements = ['libtpu==9.9.*; extra == "tpu"', "numpy>=2"]
    monkeypatch.setattr(topology.metadata, "requires", lambda name: requirements)
    mismatch = topology.libtpu_mismatch()
    assert bool(mismatch) == bool(message)
    if mismatch:
        assert re.search(message, mismatch[0])
        assert mismatch[1] == "pip install 'libtpu==9.9.*'"


def test_gpus_have_no_slices():
    with pytest.raises(
        ConfigError, match="--slices needs a TPU topology; received h100:2, --slices=2"
    ):
        topology.compile_only_devices("h100:2", 2)


def test_gpus_are_described_to_the_cuda_plugin(monkeypatch):
    received = {}
    monkeypatch.setattr(gpus, "installed_plugin", lambda: "cuda12")
    monkeypatch.setattr(gpus.metadata, "version", {"nvidia-cudnn-cu12": "9.28.0.42"}.__getitem__)

    def describe(**options):
        received.update(options)
        return SimpleNamespace(devices=range(16))

    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", describe)
    assert topology.compile_only_devices("h200:2x8") == (list(range(16)), "")
    assert received["platform"] == "cuda" and received["topology"] == "1x2x8"
    for word in ("NVIDIA H200", "major: 9 minor: 0", "major: 9 minor: 28", "core_count: 132"):
        assert word in received["target_config"]
    assert gpus.GPUS["h200"].shared_memory == 228 * 1024


def test_a_plugin_that_fails_is_reported(monkeypatch):
    def refuse(**options):
        raise RuntimeError("no such thing\nmore of it")

    monkeypatch.setattr(
        gpus, "installed_plugin", lambda: "cuda99"
    )  # without package metadata of cuDNN
    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", refuse)
    with pytest.raises(
        ConfigError, match=r"cannot compile for NVIDIA A100: no such thing\. Without"
    ):
        topology.compile_only_devices("a100:2")


def test_cpu_devices_stand_for_gpus_without_the_plugin(monkeypatch, caplog):
    monkeypatch.setattr(gpus, "installed_plugin", lambda: "")
    with caplog.at_level("INFO"):
        found, kind = topology.compile_only_devices("h100:2")
    assert kind == "NVIDIA H100" and [device.platform for device in found] == ["cpu"] * 2
    assert "pip install -e '.[cuda12]'" in caplog.text


def test_slices_are_at_least_one():
    with pytest.raises(ConfigError, match="--slices must be at least 1; received 0"):
        topology.compile_only_devices("v5e:4x4", 0)


def test_a_missing_libtpu_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"libtpu, which is not installed.*\.\[tpu\]"):
        topology.compile_only_devices("v5e:4x4")


def test_several_slices_need_the_axis_between_them():
    pod = [SimpleNamespace(platform="tpu", slice_index=i // 4) for i in range(8)]
    with pytest.raises(
        ConfigError, match=r"mesh\.dcn must be the number of TPU slices, 2; received"
    ):
        mesh.build(pod, data=1, fsdp=-1)


def test_gpus_of_several_machines_are_not_slices():
    class Gpu:
        platform = "gpu"

        def __init__(self, number):
            self.slice_index = number // 4

    assert mesh.build([Gpu(number) for number in range(8)], data=-1).shape["data"] == 8


PRINTED = """
from pretrain_jax.devices import topology
topology.configure_environment("v5p:2x2x2")
import jax, json
from pretrain_jax.errors import ConfigError
from pretrain_jax.sharding import mesh
two = mesh.build(topology.compile_only_devices("v5p:2x2x2", 2)[0], dcn=2, data=1, fsdp=-1)
try:
    topology.compile_only_devices("v5p:3x5x7")
except ConfigError as error:
    refused = str(error)
print(json.dumps({
    "backend": jax.default_backend(),
    "v4": len(topology.compile_only_devices("v4:2x2x4")[0]),
    "slices": [[d.slice_index for d in part.flat] for part in two.devices],
    "refused": refused,
}))
"""


@needs_libtpu
def test_libtpu_describes_pods_without_output_and_the_backend_stays_the_cpu():
    done = subprocess.run([sys.executable, "-c", PRINTED], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    assert found["backend"] == "cpu" and found["v4"] == 16
    assert found["slices"] == [[0] * 8, [1] * 8]
    assert "received 'v5p:3x5x7'" in found["refused"] and "v5p:4x4x8" in found["refused"]
