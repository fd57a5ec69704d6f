"""Signals during training: all processes of a run save and stop at the same step."""

import os
import signal
from typing import Any

import jax
from jax.experimental import multihost_utils

from pretrain_jax.process.shutdown import SIGNALS


class Stopped(Exception):
    """A signal arrived during work that can be repeated."""


class Signals:
    """Records the SIGNALS instead of ending the process; later signals have no further effect.

    Recording starts with `install`; until then signals keep their previous effect. In a run of
    several processes any of them may receive the signal. All stop before the same step, which jax's
    preemption service chooses; that service listens for SIGTERM itself.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._calls = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        return self

    def install(self) -> None:
        """Starts to record signals. Ignored signals (nohup) stay ignored."""
        numbers = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        if jax.process_count() == 1:
            handlers = dict.fromkeys(numbers, self._record)
        else:
            others = [number for number in numbers if number != signal.SIGTERM]
            handlers = dict.fromkeys(others, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        self._previous = {number: signal.signal(number, h) for number, h in handlers.items()}

    def _record(self, number: int, _frame: object) -> None:
        self.received = signal.Signals(number)

    def should_stop(self) -> bool:
        """Whether to stop now. All processes call it before each update and each batch of an
        evaluation."""
        if self.received is None and jax.process_count() > 1:
            # Counts from 1 in every process: after a signal the service waits for the number after
            # the highest one it has received, which is 1 if no update has been made.
            self._calls += 1
            agreed = multihost_utils.reached_preemption_sync_point(self._calls)
            self.received = signal.SIGTERM if agreed else None
        return self.received is not None

    def raise_if_stopped(self) -> None:
        """Raises Stopped if the run has to stop now."""
        if self.should_stop():
            raise Stopped

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
