"""The workdir of a run: who may write to it, and which configuration it belongs to."""

import contextlib
import fnmatch
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from etils import epath

from pretrain_jax.differences import differing
from pretrain_jax.errors import (
    DataError,
    InputMissing,
    UnwritableWorkdir,
    UserError,
    WorkdirMismatch,
)
from pretrain_jax.files import parsing
from pretrain_jax.workdir import lock

FREE = (
    "train.steps",
    "optimizer.decay_steps",
    "mesh.*",
    "checkpoint.*",
    "eval.*",
    "data.cache_dir",
    "data.workers",
)
"""Keys that may change when a run goes on."""
SPEED = ("model.dropout", "model.unroll", "model.remat", "model.attention_form")
"""Keys of a model that say how it is trained, not what it is."""
SCORING = (*FREE, *SPEED, "data.*", "train.*", "optimizer.*", "seed", "init_from", "init_tokens")
"""Keys that may be others when a model is only evaluated."""
LOCK = "run.lock"
CONFIG = "config.json"


@contextlib.contextmanager
def claim(workdir: epath.PathLike) -> Iterator[epath.Path]:
    """Creates the workdir, proves that it can be written to, and holds it for this process alone.

    Raises UnwritableWorkdir or WorkdirInUse at once, before any data is read. Of many processes
    that train together, process 0 claims for all.

    On a file system the claim is a lock on `run.lock` (lock.py), which the kernel frees however the
    process ends, kill -9 included. The file stays; what it says (host, pid, start) is for the
    message alone. On gs://, which has no lock that a killed process would release, nothing is held:
    there the scheduler must run one job for each workdir.

    >>> with claim("runs/xl") as workdir:
    ...     write_config(workdir, {"seed": 0})
    """
    path = epath.Path(workdir)
    probe(path)
    with contextlib.ExitStack() as stack:
        if "://" not in os.fspath(path):
            with writing(path / LOCK):
                stack.enter_context(lock.held(path / LOCK, path))
        yield path


@contextlib.contextmanager
def writing(path: epath.PathLike, failures: type[Exception] = Exception) -> Iterator[None]:
    """A block that writes one output of a run: its failure raises UnwritableWorkdir, naming it.

    Any failure counts, for on remote storage the library behind epath has its own exceptions; so
    what is written is made before the block, or `failures` is OSError.
    """
    try:
        yield
    except UserError:
        raise
    except failures as error:
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise UnwritableWorkdir(
            f"{os.fspath(path)} must be writable, as every output of a run; {reason}. Free some "
            "space, mend its permissions or move away what lies in its place, then start the same "
            "command again"
        ) from error


def owner(workdir: epath.PathLike) -> dict[str, Any]:
    """Who holds the workdir, as `claim` wrote it down: processes that see the same one read the
    same. Empty on gs://, where there is one of each name."""
    if "://" in os.fspath(workdir):
        return {}
    try:
        return parsing.read_json(epath.Path(workdir) / LOCK, "")
    except (InputMissing, DataError):
        return {"claimed": False}


def compare_configs(
    stored: dict[str, Any], now: dict[str, Any], free: tuple[str, ...] = FREE
) -> None:
    """Raises WorkdirMismatch when a key outside `free` differs, naming each with both values.

    Keys are dotted, `free` holds patterns of them ("mesh.*").

    >>> compare_configs({"train": {"steps": 10}, "seed": 0}, {"train": {"steps": 20}, "seed": 1})
    Traceback (most recent call last):
    pretrain_jax.errors.WorkdirMismatch: ...
      seed: stored 0, now 1
    ...
    """
    lines = [
        f"  {key}: stored {before}, now {after}"
        for key, (before, after) in differing(stored, now).items()
        if not any(fnmatch.fnmatchcase(key, pattern) for pattern in free)
    ]
    if lines:
        raise WorkdirMismatch(
            "a run goes on only with the configuration it began with, but "
            + ("1 key differs" if len(lines) == 1 else f"{len(lines)} keys differ")
            + ":\n"
            + "\n".join(lines)
            + "\nstart in another --workdir, or undo the change; free to change: "
            + ", ".join(free)
        )


def write_config(workdir: epath.PathLike, config: dict[str, Any]) -> None:
    """Writes the resolved config to config.json, sorted; whole or not at all."""
    content = json.dumps(config, indent=2, sort_keys=True) + "\n"
    replace(epath.Path(workdir) / CONFIG, content.encode())


def replace(path: epath.Path, content: bytes) -> None:
    """Whole or not at all, for whoever is looking at the file. Raises UnwritableWorkdir."""
    beside = path.parent / f"{path.name}.tmp"
    with writing(path):
        beside.write_bytes(content)
        beside.replace(path)


def read_config(workdir: epath.PathLike) -> dict[str, Any] | None:
    """The config that `write_config` left, or None where no run has begun."""
    path = epath.Path(workdir) / CONFIG
    fix = "restore it from the part `config` of a checkpoint, or start in another --workdir"
    return read_json(path, fix)


def read_json(path: epath.Path, fix: str) -> Any:
    """What a JSON file of a run holds; None where it is not there. Raises DataError with `fix`."""
    content = read(path)
    return None if content is None else parsing.value(content, dict, str(path), fix)


def read(path: epath.Path) -> bytes | None:
    """A file of a run; None where it is not there. Raises UnwritableWorkdir where it is no file,
    for reading a pipe or a device may never end."""
    # epath takes all but folders for files.
    local = "://" not in os.fspath(path)
    with writing(path, OSError):
        if local and os.path.lexists(path) and not os.path.isfile(path):
            raise OSError("it is no regular file")
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


def probe(path: epath.Path) -> None:
    """Creates a folder where there is none, writes a file into it and takes it away again.

    Raises UnwritableWorkdir.
    """
    probe = path / f".probe-{socket.gethostname()}-{os.getpid()}"
    # Any failure counts: on remote storage the library behind epath has its own exceptions.
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_text("can this be written?")
        finally:
            probe.unlink(missing_ok=True)  # on a full disk an empty one is there
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise UnwritableWorkdir(
            f"the workdir must be a directory that can be written to; {path}: {reason}; "
            "choose another --workdir, free some space or mend its permissions"
        ) from error
