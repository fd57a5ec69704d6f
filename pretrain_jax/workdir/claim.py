"""The claim on a workdir: only one process at a time may write to it."""

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
from pretrain_jax.files.paths import is_remote
from pretrain_jax.workdir import lock

LOCK = "run.lock"


@contextlib.contextmanager
def claim(workdir: epath.PathLike) -> Iterator[epath.Path]:
    """Creates the workdir, checks that it is writable, and claims it for this process.

    Raises UnwritableWorkdir or WorkdirInUse before any data is read. In a run of several
    processes, process 0 claims for all of them.

    On a file system the claim is a lock on `run.lock` (lock.py), which the kernel releases when the
    process ends, even by kill -9. The file stays; its content (host, pid, start) is only for error
    messages. gs:// has no lock that a killed process would release, so nothing is claimed there:
    the scheduler must run one job per workdir.

    >>> with claim("runs/xl") as workdir:
    ...     print((workdir / "run.lock").exists())
    True
    """
    path = epath.Path(workdir)
    probe(path)
    with contextlib.ExitStack() as stack:
        if not is_remote(path):
            with outputs.report_unwritable(path / LOCK):
                stack.enter_context(lock.hold(path / LOCK, path))
        yield path


def owner(workdir: epath.PathLike) -> dict[str, Any]:
    """The content of `run.lock`. Processes that read the same content see the same folder.

    Empty on gs://, where names are globally unique.
    """
    if is_remote(workdir):
        return {}
    try:
        return parsing.read_json(epath.Path(workdir) / LOCK, "")
    except (InputMissing, DataError):
        return {"claimed": False}


def probe(path: epath.Path) -> None:
    """Creates the folder if it is missing; writes a file into it and deletes that file.

    Raises UnwritableWorkdir.
    """
    file = path / f".probe-{socket.gethostname()}-{os.getpid()}"
    # Catches every exception: libraries for remote storage raise their own.
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            file.write_text("can this be written?")
        finally:
            file.unlink(missing_ok=True)  # a full disk leaves an empty file
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise UnwritableWorkdir(
            f"the workdir must be a writable directory; {path}: {reason}. Choose another "
            "--workdir, free some space or fix its permissions"
        ) from error
