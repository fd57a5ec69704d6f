"""How a process exits: immediately after a signal while there is nothing to save, and within
seconds at its end, even if libraries leave threads running.

This module is imported first, so it imports almost nothing.
"""

import contextlib
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from pretrain_jax.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""From a scheduler, from Ctrl-C, from a closed terminal."""
DRAFTS: set[str] = set()
"""Folders that are not complete: a signal removes them."""
PATIENCE = 5.0
"""Seconds that the interpreter has to shut down."""


def exit_on_signals() -> None:
    """From now on, SIGNALS end the process immediately with the exit code for "start again".

    They do not raise an exception, because an import, a destructor or a C callback may swallow it.
    A thread receives the signal if the main thread is busy outside Python, for example in XLA's
    compiler. Code that has something to save installs other handlers (training/signals.py).
    Ignored signals stay ignored, such as SIGINT in a background job of a shell.

    A forked child, such as a worker of a library's process pool, ends by signals as if nothing had
    been done here: it shares the pipe, so that its signal would otherwise end this process too.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    threading.Thread(target=_listen, args=(read_end,), daemon=True).start()
    os.register_at_fork(after_in_child=_leave_to_default)


def _leave_to_default() -> None:
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)


def _listen(read_end: int) -> None:
    while number := os.read(read_end, 1):
        if signal.getsignal(number[0]) is _end:
            _end(number[0])


def _end(number: int, _frame: Any = None) -> NoReturn:
    name = signal.Signals(number).name
    message = f"Interrupted: by {name}; there was nothing to save; start the same command again\n"
    with contextlib.suppress(OSError):
        os.write(2, message.encode())
    if DRAFTS:
        import shutil

        for folder in tuple(DRAFTS):
            shutil.rmtree(folder, ignore_errors=True)
    os._exit(Interrupted.exit_code)


def exit_within_seconds(code: int) -> None:
    """Exits with `code` in at most PATIENCE seconds. Call this last.

    The interpreter waits for non-daemon threads, but those of Orbax never end after a failed save,
    and a compilation may take long. Processes of a distributed run first shut down together, and
    wait for the slowest one without a limit.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    timer = threading.Timer(PATIENCE, os._exit, (code,))
    timer.daemon = True
    if code in (0, Interrupted.exit_code) and "jax" in sys.modules:
        import jax

        if jax.distributed.is_initialized():
            jax.distributed.shutdown()
    timer.start()
