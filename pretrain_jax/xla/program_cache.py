"""XLA's persistent cache of compiled programs, on unless the user says where it is to be.

A program that was compiled once is read back at the next start of the same configuration. What is
read back is machine code that runs: the folder is the user's own, and one that others can write to
is not used.
"""

import contextlib
import hashlib
import logging
import os
import platform
import time
from pathlib import Path

FOLDER = "~/.cache/pretrain_jax/programs"
VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""jax's own; set to a folder it is the cache's, set to nothing there is none."""
LEAST = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
"""Seconds that a program took to be compiled, below which it is not kept; jax's default is 1."""
KEPT_DAYS = 30

log = logging.getLogger(__name__)


def enable(cpuinfo: Path = Path("/proc/cpuinfo")) -> Path | None:
    """Names the folder to jax; None where the user has named one, or it cannot be used.

    Call it before jax is imported, which reads the environment then. Programs older than 30 days
    are deleted.
    """
    if VARIABLE in os.environ:
        return None
    try:
        top = Path(FOLDER).expanduser()
        folder = top / machine_kind(cpuinfo)
        folder.mkdir(parents=True, exist_ok=True)
        for one in (top, folder):
            if not make_private(one):
                log.warning("%s is not used: others than you can write to it", one)
                return None
        prune(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows a home folder
        log.warning("compiled programs are not kept: %s", error)
        return None
    os.environ[VARIABLE] = str(folder)
    for name, value in LEAST.items():
        os.environ.setdefault(name, value)
    return folder


def make_private(folder: Path) -> bool:
    """Makes a folder of ours one that only we can use; False where it is not ours."""
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return False
    folder.chmod(0o700)
    return True


def prune(folder: Path) -> None:
    """Deletes programs that were compiled more than `KEPT_DAYS` ago."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another start deletes them, too
            if file.is_file() and file.stat().st_mtime < oldest:
                file.unlink()


def machine_kind(cpuinfo: Path) -> str:
    """A name for processors with the same instructions: programs for a CPU know them, and a home
    folder may be shared by machines that differ."""
    flags = ""
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:12]}"
