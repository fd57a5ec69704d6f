"""XLA's persistent cache of compiled programs, on by default.

The next start of the same configuration loads its compiled programs from the cache. They are
machine code, so the folder belongs to the user, and a folder that others can write to is not used.
"""

import contextlib
import hashlib
import logging
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = "~/.cache/pretrain_jax/programs"
VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""jax's variable for the folder of the cache; an empty value turns the cache off."""
MIN_COMPILE_TIME = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
"""Programs that compile in fewer seconds are not cached; jax's default is 1."""
MAX_AGE_DAYS = 30
CPUINFO = Path("/proc/cpuinfo")

log = logging.getLogger(__name__)


def enable() -> Path | None:
    """Points jax to the cache folder and returns it; None where the user has set VARIABLE, or where
    the folder cannot be used.

    Call it before jax is imported, which reads the environment. Deletes programs older than 30
    days.
    """
    if VARIABLE in os.environ:
        return None
    try:
        top = Path(FOLDER).expanduser()
        folder = top / machine_kind(CPUINFO)
        folder.mkdir(parents=True, exist_ok=True)
        for one in (top, folder):
            if not make_private(one):
                log.warning("compiled programs are not cached: others can write to %s", one)
                return None
        prune(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        log.warning("compiled programs are not cached: %s", error)
        return None
    os.environ[VARIABLE] = str(folder)
    for name, value in MIN_COMPILE_TIME.items():
        os.environ.setdefault(name, value)
    return folder


def turn_off_for_a_cpu_mesh(devices: Sequence[Any]) -> None:
    """Turns the cache off in this process if programs will span several CPU devices.

    XLA forgets the order of collectives in a CPU program that it stores: once loaded, two of them
    may run at a time on a device, take the threads of another, and wait for it forever.
    """
    if len(devices) > 1 and devices[0].platform == "cpu":
        switch(False)


def switch(on: bool) -> None:
    """Turns the cache on or off in this process."""
    import jax  # here, because it reads the environment that `enable` sets
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_enable_compilation_cache", on)
    compilation_cache.reset_cache()  # jax reads the setting once


def make_private(folder: Path) -> bool:
    """Removes all permissions of other users; False where the folder is not this user's own."""
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return False
    folder.chmod(0o700)
    return True


def prune(folder: Path) -> None:
    """Deletes programs that are older than `MAX_AGE_DAYS`."""
    oldest = time.time() - MAX_AGE_DAYS * 86_400
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process may delete it first
            if file.is_file() and file.stat().st_mtime < oldest:
                file.unlink()


def machine_kind(cpuinfo: Path) -> str:
    """A name that processors with the same instruction set share: CPU programs depend on it, and
    different machines may share a home folder."""
    flags = ""
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:12]}"
