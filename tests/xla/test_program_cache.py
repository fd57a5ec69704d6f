"""Compiled programs are cached by default, per user and kind of machine."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import NamedSharding, PartitionSpec

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.xla import program_cache

SECOND_START = """
import logging, sys
from pretrain_jax.xla import program_cache
program_cache.enable()
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3))).sum())
print(sum(event.endswith("cache_hits") for event in hits))
"""


@pytest.fixture
def new_home(monkeypatch, tmp_path):
    """A new home folder, and an environment that does not set the cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(program_cache.VARIABLE, raising=False)
    for name in program_cache.MIN_COMPILE_TIME:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def start():
    done = subprocess.run(
        [sys.executable, "-c", SECOND_START], capture_output=True, text=True, check=True
    )
    value, hits = done.stdout.split()
    return value, int(hits)


def test_a_second_start_loads_the_programs_of_the_first(new_home):
    first, second = start(), start()
    assert first[1] == 0
    assert second[1] > 0
    assert first[0] == second[0]


def test_the_folder_is_the_users_alone(new_home, monkeypatch):
    folder = program_cache.enable()
    assert folder is not None
    assert os.environ[program_cache.VARIABLE] == str(folder)
    for one in (folder, folder.parent):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700


@pytest.mark.parametrize("value", ["", "/somewhere/else"])
def test_the_users_setting_takes_precedence(new_home, monkeypatch, value):
    monkeypatch.setenv(program_cache.VARIABLE, value)
    assert program_cache.enable() is None
    assert os.environ[program_cache.VARIABLE] == value
    assert not (new_home / ".cache").exists()


def test_without_a_home_folder_there_is_no_cache(new_home, monkeypatch, caplog):
    def unknown(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert program_cache.enable() is None
    assert "Could not determine home" in caplog.text
    assert program_cache.VARIABLE not in os.environ


def test_a_folder_of_another_user_is_not_used(new_home, monkeypatch, caplog):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert program_cache.enable() is None
    assert program_cache.VARIABLE not in os.environ
    assert "others can write to" in caplog.text


def test_a_symbolic_link_is_not_followed(new_home, caplog):
    elsewhere = new_home / "elsewhere"
    elsewhere.mkdir()
    top = Path(program_cache.FOLDER).expanduser()
    top.parent.mkdir(parents=True)
    top.symlink_to(elsewhere)
    assert program_cache.enable() is None
    assert "others can write to" in caplog.text


def test_a_read_only_home_folder_is_not_an_error(new_home, caplog):
    (new_home / ".cache").write_text("a file")
    assert program_cache.enable() is None
    assert "compiled programs are not cached" in caplog.text


def test_old_programs_are_deleted(new_home, monkeypatch):
    folder = program_cache.enable()
    assert folder is not None
    old, new = folder / "old", folder / "new"
    for file in (old, new):
        file.write_text("")
    long_ago = time.time() - (program_cache.MAX_AGE_DAYS + 1) * 86_400
    os.utime(old, (long_ago, long_ago))
    monkeypatch.delenv(program_cache.VARIABLE)
    program_cache.enable()
    assert not old.exists()
    assert new.exists()


def test_instruction_sets_have_separate_folders(tmp_path):
    names = set()
    for flags in ("flags : sse avx", "flags : sse avx avx512", "Features : neon", ""):
        file = tmp_path / "cpuinfo"
        file.write_text(f"processor : 0\n{flags}\n")
        names.add(program_cache.machine_kind(file))
    assert len(names) == 4
    assert program_cache.machine_kind(tmp_path / "none") in names  # macOS has no such file


@pytest.mark.parametrize("count, cached", [(1, True), (2, False)])
def test_programs_of_several_cpu_devices_are_not_cached(tmp_path, count, cached):
    devices = tuple(jax.devices()[:count])
    mesh = build_design(fix_schedule(config.read("configs/gpt2_nano.py")), devices).placement.mesh
    before = os.environ["JAX_COMPILATION_CACHE_DIR"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()
    try:
        x = jax.device_put(jnp.arange(8.0), NamedSharding(mesh, PartitionSpec("data")))
        assert jax.jit(lambda x: jnp.sin(x).sum())(x) == pytest.approx(0.554, abs=1e-3)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        compilation_cache.reset_cache()
    assert bool(list(tmp_path.iterdir())) == cached
