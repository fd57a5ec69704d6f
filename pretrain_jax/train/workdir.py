"""The workdir of a run: who may write to it, and which configuration it belongs to."""

import contextlib
import errno
import fcntl
import fnmatch
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from etils import epath

from pretrain_jax.differences import differing
from pretrain_jax.errors import DataError, UnwritableWorkdir, WorkdirInUse, WorkdirMismatch

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

    On a file system the claim is a POSIX lock on `run.lock`: the kernel releases it however the
    process ends, kill -9 included, and no forked child inherits it. The file stays; what it says
    (host, pid, start) is for the message alone. On gs://, which has no lock that a killed process
    would release, nothing is held: there the scheduler must run one job for each workdir.

    >>> with claim("runs/xl") as workdir:
    ...     write_config(workdir, {"seed": 0})
    """
    path = epath.Path(workdir)
    probe(path)
    if "://" in os.fspath(path):
        yield path
        return
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(lock, path)
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "start": _now()}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(owner).encode(), 0)
        os.fsync(lock)  # on a network disk, the other processes of the run read it
        yield path
    finally:
        os.close(lock)


def owner(workdir: epath.PathLike) -> dict[str, Any]:
    """Who holds the workdir, as `claim` wrote it down: processes that see the same one read the
    same. Empty on gs://, where there is one of each name."""
    if "://" in os.fspath(workdir):
        return {}
    try:
        return json.loads((epath.Path(workdir) / LOCK).read_text())
    except (OSError, ValueError):
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
    path = epath.Path(workdir) / CONFIG
    beside = path.parent / f"{CONFIG}.tmp"
    beside.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    beside.replace(path)


def read_config(workdir: epath.PathLike) -> dict[str, Any] | None:
    """The config that `write_config` left, or None where no run has begun."""
    path = epath.Path(workdir) / CONFIG
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise DataError(
            f"{path} must be the JSON that a run wrote; {error}; restore it from the part `config` "
            "of a checkpoint, or start in another --workdir"
        ) from error


def probe(path: epath.Path) -> None:
    """Creates a folder where there is none, writes a file into it and takes it away again.

    Raises UnwritableWorkdir.
    """
    # Any failure counts: on remote storage the library behind epath has its own exceptions.
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{socket.gethostname()}-{os.getpid()}"
        probe.write_text("can this be written?")
        probe.unlink()
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise UnwritableWorkdir(
            f"the workdir must be a directory that can be written to; {path}: {reason}; "
            "choose another --workdir, free some space or mend its permissions"
        ) from error


def _lock(lock: int, path: epath.Path) -> None:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise UnwritableWorkdir(
                f"the workdir must be on a file system with locks; {path}: {error.strerror}; "
                "choose another --workdir, or mount it with locks (Lustre: -o flock)"
            ) from error
        raise WorkdirInUse(
            f"one process trains in a workdir; {path} is held by {_owner(lock)}; wait for it, "
            "end it, or choose another --workdir"
        ) from error


def _owner(lock: int) -> str:
    try:
        owner = json.loads(os.pread(lock, 4096, 0))
        return f"process {owner['pid']} on {owner['host']} since {owner['start']}"
    except (ValueError, KeyError, TypeError):
        return "a process that is just starting"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
