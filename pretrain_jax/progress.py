"""Log lines about work that takes long: what it is, how much is done, for how long it has run."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

FIRST, EVERY = 5.0, 10.0
"""Seconds before the first line, and between lines."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Logs a line now and then until the block ends; a block shorter than FIRST logs nothing.

    A thread writes the lines, so the block may wait for a library or another process. With
    `total`, the block reports how much it has done since its last report:

    >>> with progress("tokenizing train", total=1000) as done:
    ...     done(250)  # after 7 seconds: "tokenizing train: 25 %, 7 s so far"
    """
    start, ended, sums = time.monotonic(), threading.Event(), [0.0]

    def share() -> str:
        return f"{100 * sums[0] / total:.0f} %, " if total else ""

    def write_lines() -> None:
        pause = FIRST
        while not ended.wait(pause):
            log.info("%s: %s%.0f s so far", what, share(), time.monotonic() - start)
            pause = EVERY

    def done(more: float) -> None:
        sums[0] += more

    thread = threading.Thread(target=write_lines, name=f"progress of {what}", daemon=True)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
    seconds = time.monotonic() - start
    if seconds > FIRST:
        log.info("%s: done, %.0f s", what, seconds)
