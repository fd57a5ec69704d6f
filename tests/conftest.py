"""Every test sees eight simulated devices and a home folder of its own.

Both reach the processes that tests start, through the environment. Warnings are errors in all of
them (pyproject.toml). The persistent cache of programs stays off: tests that compare two runs bit
for bit must compile twice.
"""

import gc
import os

# Read once, when jax is first imported: before any test module is. Tests compile some thousand
# programs and run each for milliseconds, so the machine code need not be good: the suite takes
# half the time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """A home folder for the session: token caches are shared by the tests, and stay out of ~."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def no_compiled_programs_left():
    """Compiled programs go with their module: some thousand of them in one process use up the
    memory maps that Linux allows (vm.max_map_count, 65,530), and the compiler dies of it."""
    yield
    jax.clear_caches()
    gc.collect()
