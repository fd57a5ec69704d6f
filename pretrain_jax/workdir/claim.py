"""The workdir of a run: who may write to it, and which configuration it belongs to."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from etils import epath

from pretrain_jax.errors import (
    DataError,
    InputMissing,
    UnwritableWorkdir,
)
from pretrain_jax.files import outputs, parsing
from pretrain_jax.workdir import lock

LOCK = "run.lock"


@contextlib.contextmanager
def claim(workdir: epath.PathLike) -> Iterator[epath.Path]:
    """Creates the workdir, proves that it can be written to, and holds it for this process alone.

    Raises UnwritableWorkdir or WorkdirInUse at once, before any data is read. Of many processes
    that train together, process 0 claims for all.

    On a file system the claim is a lock on `run.lock` (lock.py), which the kernel frees however the
    process ends, kill -9 included. The file stays; what it says (host, pid, start) is for the
    message alone. On gs://, which has no lock that a killed process would release, nothing is held:
    there the scheduler must run one job for each workdir.

    >>> from pretrain_jax.workdir import run_config
    >>> with claim("runs/xl") as workdir:
    ...     run_config.write_config(workdir, {"seed": 0})
    """
    path = epath.Path(workdir)
    probe(path)
    with contextlib.ExitStack() as stack:
        if "://" not in os.fspath(path):
            with outputs.report_unwritable(path / LOCK):
                stack.enter_context(lock.held(path / LOCK, path))
        yield path


def owner(workdir: epath.PathLike) -> dict[str, Any]:
    """Who holds the workdir, as `claim` wrote it down: processes that see the same one read the
    same. Empty on gs://, where there is one of each name."""
    if "://" in os.fspath(workdir):
        return {}
    try:
        return parsing.read_json(epath.Path(workdir) / LOCK, "")
    except (InputMissing, DataError):
        return {"claimed": False}


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
