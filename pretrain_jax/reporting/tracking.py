"""Sends the metrics of a run to trackers in the background, so that none delays training."""

import hashlib
import logging
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

from etils import epath

from pretrain_jax import registry
from pretrain_jax.files.paths import is_remote

log = logging.getLogger(__name__)
FOLDER = "reporting.trackers"
PROJECT = "pretrain_jax"
"""The project or experiment of all runs, where the user names none."""
WAITING = 10_000
"""Lines that may wait for a slow tracker; more are dropped, with a warning."""
PATIENCE = 60.0
"""Seconds that the end of a run waits for a tracker."""


def identity(workdir: str) -> str:
    """The name of a workdir for a tracker: 16 hexadecimal digits of its absolute path or URL."""
    path = workdir if is_remote(workdir) else os.path.abspath(workdir)
    return hashlib.sha256(path.encode()).hexdigest()[:16]


class Trackers:
    """The trackers of a run.

    >>> with Trackers([], "runs/xl", {"seed": 0}) as trackers:  # or ["wandb"]
    ...     trackers.log(10, {"train/loss": 4.25})
    """

    def __init__(self, names: Sequence[str], workdir: epath.PathLike, config: Mapping[str, Any]):
        self._threads = [Background(name, os.fspath(workdir), config) for name in names]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Sends finite numbers of a step."""
        for thread in self._threads:
            thread.put((step, dict(values)))

    def close(self) -> None:
        """Waits until the trackers have everything, for PATIENCE at most."""
        for thread in self._threads:
            thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Background:
    """The thread of one tracker: opens, logs and closes it, so that one thread does it all."""

    def __init__(self, name: str, workdir: str, config: Mapping[str, Any]):
        self.name, self._failed = name, False
        self._lines: queue.Queue[tuple[int, dict[str, float]] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(
            target=self._run, args=(workdir, config), name=f"tracker {name}", daemon=True
        )
        self._thread.start()

    def put(self, line: tuple[int, dict[str, float]] | None) -> None:
        """Hands a line to the thread; drops it if the tracker failed or is far behind."""
        try:
            if not self._failed:
                self._lines.put_nowait(line)
        except queue.Full:
            self._fail("it is 10,000 lines behind")

    def close(self) -> None:
        self.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive() and not self._failed:
            self._fail(f"it did not end within {PATIENCE:g} s")

    def _run(self, workdir: str, config: Mapping[str, Any]) -> None:
        try:
            module = registry.load(FOLDER, self.name, FOLDER)
            send, close = module.open_run(workdir, epath.Path(workdir).name, config)
            while (line := self._lines.get()) is not None:
                send(*line)
            close()
        except BaseException as error:  # a library may even raise SystemExit
            why, missing = f"{type(error).__name__}: {error}", isinstance(error, ImportError)
            self._fail(why + "; pip install 'pretrain_jax[trackers]'" * missing)

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            log.warning("tracker %s is off; training goes on: %s", self.name, why)
