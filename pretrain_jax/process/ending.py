"""How a process ends: at once by a signal, while there is nothing to save; and at its end within
seconds, whatever threads its libraries have left.

Imported before everything else, so it imports next to nothing.
"""

import contextlib
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from pretrain_jax.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Of a scheduler, of Ctrl-C, of a terminal that is closed."""
PATIENCE = 5.0
"""Seconds that the interpreter has for its own end."""


def by_signals() -> None:
    """From now on SIGNALS end the process at once, with the code for "start again".

    Not by an exception: an import, a destructor or a callback of C may swallow it. Where the main
    thread is busy outside of Python, as when XLA compiles, another thread hears of the signal.
    Who has something to save sets other handlers meanwhile (training/signals.py). A signal that is
    ignored, as SIGINT in the background of a shell, stays so.
    """
    hears, tells = os.pipe()
    os.set_blocking(tells, False)
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    threading.Thread(target=_listen, args=(hears,), daemon=True).start()


def _listen(hears: int) -> None:
    while number := os.read(hears, 1):
        if signal.getsignal(number[0]) is _end:
            _end(number[0])


def _end(number: int, _frame: Any = None) -> NoReturn:
    name = signal.Signals(number).name
    said = f"Interrupted: by {name}, when nothing was to be saved; start the same command again\n"
    with contextlib.suppress(OSError):
        os.write(2, said.encode())
    os._exit(Interrupted.exit_code)


def within_seconds(code: int) -> None:
    """To be called last: the process ends with `code`, at the latest PATIENCE seconds from now.

    The interpreter waits for threads that are not daemons: those of Orbax never end after a save
    that failed, and one that compiles ends when it likes. What was done by many processes together
    they also end together, first, however long the slowest takes.
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
