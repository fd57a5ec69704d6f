"""One process for each workdir: a lock that the kernel keeps, and that nothing here can lose.

An open-file-description lock (Linux, fcntl(2)) belongs to the open file, not to the process. A
POSIX lock, as `fcntl.lockf` takes it, is dropped as soon as the process closes any descriptor of
the same file, which happens whenever somebody reads it. Both kinds exclude each other, so that an
older version of this code, which took POSIX locks, is respected.
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
def held(path: epath.Path, workdir: epath.Path) -> Iterator[None]:
    """Holds the lock file `path` for this process alone; writes host, pid and start into it.

    The kernel frees it however the process ends. A program that is started does not inherit the
    descriptor, a forked child closes it: only this process keeps the lock.

    Raises WorkdirInUse, which names the holder; UnwritableWorkdir where there are no locks.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(lock, workdir)
        _held.add(lock)
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "start": _now()}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(owner).encode(), 0)
        os.fsync(lock)  # on a network disk, the other processes of the run read it
        yield
    finally:
        _held.discard(lock)
        os.close(lock)


def _take(lock: int, workdir: epath.Path) -> None:
    try:
        fcntl.fcntl(lock, F_OFD_SETLK, EXCLUSIVE)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise UnwritableWorkdir(
                f"the workdir must be on a file system with locks; {workdir}: {error.strerror}; "
                "choose another --workdir, or mount it with locks (Lustre: -o flock)"
            ) from error
        raise WorkdirInUse(
            f"one process trains in a workdir; {workdir} is held by {_owner(lock)}; wait for it, "
            "end it, or choose another --workdir"
        ) from error


def _owner(lock: int) -> str:
    try:
        owner = parsing.parse_json_as(os.pread(lock, 4096, 0), dict, "run.lock", "")
        return f"process {owner['pid']} on {owner['host']} since {owner['start']}"
    except (DataError, KeyError):
        return "a process that is just starting"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _let_go() -> None:
    """In a forked child, which shares the open file and with it the lock."""
    for lock in _held:
        os.close(lock)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
