"""A line now and then about work that takes long: what, how much of it, since when."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

FIRST, EVERY = 5.0, 10.0
"""Seconds until the first line, and between lines."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Logs lines about the block until it ends; what ends sooner than FIRST says nothing.

    Another thread writes them, so the block may wait for a library or another process. With
    `total` the block says how much of it is done, bit by bit:

    >>> with progress("tokenizing train", total=1000) as done:
    ...     done(250)  # after 7 seconds: "tokenizing train: 25 %, 7 s so far"
    """
    begun, ended, sums = time.monotonic(), threading.Event(), [0.0]

    def share() -> str:
        return f"{100 * sums[0] / total:.0f} %, " if total else ""

    def say() -> None:
        pause = FIRST
        while not ended.wait(pause):
            log.info("%s: %s%.0f s so far", what, share(), time.monotonic() - begun)
            pause = EVERY

    def done(more: float) -> None:
        sums[0] += more

    thread = threading.Thread(target=say, name=f"progress of {what}", daemon=True)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
    seconds = time.monotonic() - begun
    if seconds > FIRST:
        log.info("%s: done, %.0f s", what, seconds)
