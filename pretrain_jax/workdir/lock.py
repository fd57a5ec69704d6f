"""A lock for one process per workdir, kept by the kernel.

It is an open-file-description lock (Linux, fcntl(2)), which belongs to the open file, not to the
process. A POSIX lock, as `fcntl.lockf` takes it, is lost when the process closes any descriptor of
the file, for example after reading it. The two kinds exclude each other, so older versions of this
code, which took POSIX locks, are respected.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Iterator

from etils import epath

from pretrain_jax.errors import DataError, UnwritableWorkdir, WorkdirInUse
from pretrain_jax.files import parsing

F_OFD_SETLK = getattr(fcntl, "F_OFD_SETLK", 37)  # from Linux's fcntl.h, the same on all machines
EXCLUSIVE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len (0: to the end), l_pid (0)."""

_held: set[int] = set()


@contextlib.contextmanager
def hold(path: epath.Path, workdir: epath.Path) -> Iterator[None]:
    """Holds the lock file `path` inside the block; writes host, pid and start into it.

    The kernel releases it when the process ends. Started programs do not inherit the descriptor,
    and forked children close it, so only this process holds the lock.

    Raises WorkdirInUse, which names the holder, or UnwritableWorkdir if the file system has no
    locks.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(lock, workdir)
        _held.add(lock)
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "start": _now()}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(owner).encode(), 0)
        os.fsync(lock)  # other processes of the run read it over a network disk
        yield
    finally:
        _held.discard(lock)
        os.close(lock)


def _acquire(lock: int, workdir: epath.Path) -> None:
    try:
        fcntl.fcntl(lock, F_OFD_SETLK, EXCLUSIVE)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise UnwritableWorkdir(
                f"the workdir must be on a file system with locks; {workdir}: {error.strerror}. "
                "Choose another --workdir, or mount it with locks (Lustre: -o flock)"
            ) from error
        raise WorkdirInUse(
            f"only one process may train in a workdir; {workdir} is in use by {_holder(lock)}. "
            "Wait for it, end it, or choose another --workdir"
        ) from error


def _holder(lock: int) -> str:
    """The process that holds the lock, for a message."""
    try:
        owner = parsing.parse_json_as(os.pread(lock, 4096, 0), dict, "run.lock", "")
        return f"process {owner['pid']} on {owner['host']} since {owner['start']}"
    except (DataError, KeyError):
        return "a process that is starting"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _close_in_child() -> None:
    """Closes the lock files in a forked child, which shares them and would keep the lock."""
    for lock in _held:
        os.close(lock)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
