"""XLA knows every option, and the user's own settings take precedence."""

import importlib.util
import os
import subprocess
import sys

import jax
import pytest
from jaxlib import xla_client

from pretrain_jax.xla import flags

NEEDS = {"tpu": "libtpu", "gpu": "jax_plugins"}
TOPOLOGIES = {"tpu": "v5e:2x2", "gpu": "h100:1"}
NEW, OLD = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"
COMPILE = """
import sys
from pretrain_jax.devices import topology
from pretrain_jax.xla import flags
platform, name = sys.argv[1:]
topology.configure_environment(name)
import jax
sharding = jax.sharding.SingleDeviceSharding(topology.compile_only_devices(name)[0][0])
shape = jax.ShapeDtypeStruct((8, 8), "float32", sharding=sharding)
traced = jax.jit(lambda x: x @ x).trace(shape)
lowered = traced.lower(lowering_platforms=("cuda" if platform == "gpu" else platform,))
step, plan = flags.step_options(platform, True, True), flags.plan_options(platform, False)
assert step and plan
lowered.compile(compiler_options={**step, **plan})
try:
    lowered.compile(compiler_options={"xla_of_no_such_name": True})
except Exception as error:
    print(error)
"""


def test_no_option_is_set_by_default():
    for platform in ("cpu", "gpu", "tpu"):
        assert flags.step_options(platform, False, False) == {}
    assert flags.step_options("cpu", True, True) == flags.plan_options("cpu", False) == {}
    assert flags.plan_options("tpu", True) == {}


@pytest.mark.parametrize("platform", NEEDS)
def test_the_compiler_of_a_platform_knows_its_options(platform):
    if importlib.util.find_spec(NEEDS[platform]) is None:
        pytest.skip(f"needs {NEEDS[platform]}")
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, platform, TOPOLOGIES[platform]],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "xla_of_no_such_name" in done.stdout


@pytest.mark.parametrize(
    "options", [flags.step_options("gpu", True, True), flags.plan_options("gpu", False)]
)
def test_every_xla_knows_the_gpu_options(options):
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


@pytest.mark.parametrize(("name", "share"), [("", 0.92), (NEW, 0.5), (OLD, 0.5)])
def test_memory_is_reserved_unless_the_user_sets_a_share(monkeypatch, name, share):
    for variable in (NEW, OLD):
        monkeypatch.setenv(variable, "")  # so that it is restored after the test
        monkeypatch.delenv(variable)
    if name:
        monkeypatch.setenv(name, "0.5")
    flags.reserve_gpu_memory()
    # As jax reads it; it refuses both names together.
    options = xla_client.generate_pjrt_gpu_plugin_options()
    assert options["memory_fraction"] == share
