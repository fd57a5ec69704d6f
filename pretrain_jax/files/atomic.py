"""Folders that are complete or absent, also when two processes make the same one at once.

A folder holds the digests of its files (`SEAL`): what changed since it was written is noticed.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pretrain_jax.errors import ConfigError, UserError
from pretrain_jax.files import parsing

SEAL = "digests.json"
log = logging.getLogger(__name__)


def ensure(folder: Path, whole: Callable[[Path], bool], build: Callable[[Path], None]) -> None:
    """Makes sure that `folder` exists and that `whole(folder)` holds.

    `build` writes into a folder beside it, which is renamed when it is complete. One process
    builds, the others wait; the lock goes with the process that holds it, so one that was killed
    leaves nothing behind but a folder that the next one clears away, whatever that one builds. A
    folder that is there and not whole, or whose files are not those that were written, is made
    anew, and the log says so.
    """
    if usable(folder, whole):
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_name(folder.name + ".lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(
            f"data.cache_dir must be writable; {folder.parent} is not: {error.strerror}. "
            "Name another folder with data.cache_dir"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if usable(folder, whole):
            return
        clear_leftovers(folder.parent)
        building = folder.with_name(folder.name + ".building")
        for leftover in (building, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            building.mkdir()
            build(building)
            (building / SEAL).write_text(json.dumps(digests(building), indent=2))
            for path in [*building.iterdir(), building]:
                flush(path)
            building.rename(folder)
            flush(folder.parent)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise ConfigError(
                f"data.cache_dir must have room and stay writable; making {folder} ended with: "
                f"{error}. Free some room, or name another folder with data.cache_dir"
            ) from error


def clear_leftovers(parent: Path) -> None:
    """Takes away what killed processes were building in `parent`: nobody holds its lock."""
    for building in parent.glob("*.building"):
        with contextlib.suppress(OSError), open(building.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(building)


def usable(folder: Path, whole: Callable[[Path], bool]) -> bool:
    """Whether the folder holds what was written into it."""
    if not folder.exists():
        return False
    try:
        seal = folder / SEAL  # those written before there were seals have none
        found = not seal.exists() or parsing.read_json(seal, "") == digests(folder)
        if found and whole(folder):
            return True
        reason = "its files are not those that were written"
    except (UserError, OSError) as error:
        reason = str(error)
    log.warning("%s is damaged and is made anew: %s", folder, reason)
    return False


def digests(folder: Path) -> dict[str, str]:
    """Hex SHA-256 of each file of a folder but the seal."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name != SEAL:
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def flush(path: Path) -> None:
    """Has the disk keep what was written, so that a rename never outlives the data it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
