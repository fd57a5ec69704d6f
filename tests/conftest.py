"""Tests have eight simulated devices, or one (`one_device`), a home folder of their own, and a
cache of programs.

All three reach the processes that tests start, through the environment. Warnings are errors in all
of them (pyproject.toml). The cache (jax's persistent one) starts empty and serves one process of
pytest and the processes that it starts: most tests run the same few programs. Tests that prove
that two compilations give the same bits switch it off (program_cache.py).
"""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

# jax reads the environment once, when it is first imported: before any test module is. Tests
# compile some thousand programs and run each for milliseconds, so the machine code need not be
# good: the suite takes half the time. The older emitters of fusions compile a gradient in half
# the time of the new ones.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
    ]
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="test_programs_")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import pytest

from pretrain_jax.xla import program_cache

atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """A home folder for the session: token caches are shared by the tests, and stay out of ~."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def cache_of_programs_on_again():
    """A mesh of CPU devices turns the cache off for its process (xla/program_cache.py)."""
    yield
    if not jax.config.values["jax_enable_compilation_cache"]:
        program_cache.switch(True)


@pytest.fixture(scope="module", autouse=True)
def no_compiled_programs_left():
    """Compiled programs go with their module: some thousand of them in one process use up the
    memory maps that Linux allows (vm.max_map_count, 65,530), and the compiler dies of it."""
    yield
    jax.clear_caches()
    gc.collect()


ALL_DEVICES = jax.devices


@pytest.fixture(scope="module")
def one_device():
    """This process and those that it starts have one device, for modules that need no mesh: a run
    of some steps takes half the time, and its programs come from the cache."""
    alone = jax.devices()[:1]
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda *_: alone)
        patch.setenv("XLA_FLAGS", flags)
        yield


@pytest.fixture
def all_devices(monkeypatch):
    """All devices, for a test of such a module."""
    monkeypatch.setattr(jax, "devices", ALL_DEVICES)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `data` of published vocabularies and cases; no part of the repository."""
    folder = os.environ.get("PRETRAIN_JAX_SHARED")
    if not folder:
        pytest.skip("PRETRAIN_JAX_SHARED is not set")
    return Path(folder) / "data"
