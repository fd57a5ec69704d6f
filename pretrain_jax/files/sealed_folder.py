"""Cache folders that are complete or absent, even if several processes build the same one.

A folder contains the digests of its files (`SEAL`), so that later changes are detected.
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
REBUILD = "delete the folder; the next run creates it again"
"""How to mend a damaged folder, for messages."""
log = logging.getLogger(__name__)


def ensure(
    folder: Path, is_complete: Callable[[Path], bool], build: Callable[[Path], None]
) -> None:
    """Makes sure that `folder` exists and that `is_complete(folder)` is true.

    `build` writes into a temporary folder, which is renamed at the end. One process builds while
    the others wait. The lock is released when its process exits, so a killed process leaves only a
    temporary folder, which the next build removes. A folder that is incomplete, or whose files
    changed, is built again with a warning.

    Raises ConfigError if the parent folder is full or not writable.
    """
    if is_intact(folder, is_complete):
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
        if is_intact(folder, is_complete):
            return
        clear_leftovers(folder.parent)
        building = folder.with_name(folder.name + ".building")
        for leftover in (building, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            building.mkdir()
            build(building)
            (building / SEAL).write_text(json.dumps(file_digests(building), indent=2))
            for path in [*building.iterdir(), building]:
                fsync(path)
            building.rename(folder)
            fsync(folder.parent)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise ConfigError(
                f"data.cache_dir must be writable and have enough space; building {folder} failed: "
                f"{error}. Free some space, or name another folder with data.cache_dir"
            ) from error


def clear_leftovers(parent: Path) -> None:
    """Removes the temporary folders of killed processes in `parent`: their locks are free."""
    for building in parent.glob("*.building"):
        with contextlib.suppress(OSError), open(building.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(building)


def is_intact(folder: Path, is_complete: Callable[[Path], bool]) -> bool:
    """Whether the folder exists, is complete and has not changed since it was built."""
    if not folder.exists():
        return False
    try:
        seal = folder / SEAL  # folders of older versions have none
        unchanged = not seal.exists() or parsing.read_json(seal, "") == file_digests(folder)
        if unchanged and is_complete(folder):
            return True
        reason = "its files have changed"
    except (UserError, OSError) as error:
        reason = str(error)
    log.warning("%s is damaged and will be built again: %s", folder, reason)
    return False


def file_digests(folder: Path) -> dict[str, str]:
    """Hex SHA-256 of each file of a folder, except the seal."""
    result = {}
    for path in sorted(folder.iterdir()):
        if path.name != SEAL:
            with path.open("rb") as file:
                result[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return result


def fsync(path: Path) -> None:
    """Flushes a file or folder to disk, so that a rename never reaches the disk before its data."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
