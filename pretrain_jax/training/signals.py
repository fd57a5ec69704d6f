"""Stopping when told to, saved, and all processes of a run at one step."""

import os
import signal
from typing import Any

import jax
from jax.experimental import multihost_utils

from pretrain_jax.process.exit import SIGNALS


class Stopped(Exception):
    """A signal came while something was done that can be done again."""


class Signals:
    """Notes the SIGNALS instead of dying of them; a second one is no different.

    It begins with `note_from_now`: until then a signal does what it did before. Of several
    processes that train together any may be told; all stop before the same step, which jax's
    preemption service finds. It listens for SIGTERM itself.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        return self

    def note_from_now(self) -> None:
        heard = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]  # as nohup has it
        if jax.process_count() == 1:
            handlers = dict.fromkeys(heard, self.note)
        else:
            others = [number for number in heard if number != signal.SIGTERM]
            handlers = dict.fromkeys(others, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        self._before = {number: signal.signal(number, h) for number, h in handlers.items()}

    def note(self, number: int, _frame: object) -> None:
        self.received = signal.Signals(number)

    def stop(self) -> bool:
        """Whether to stop now; asked before each update and each batch of an evaluation, by all
        processes alike."""
        if self.received is None and jax.process_count() > 1:
            # Counted from 1 in every start: after a signal the service waits for the number behind
            # the highest that it has seen, which is 1 when the signal came before the first update.
            self._asked += 1
            agreed = multihost_utils.reached_preemption_sync_point(self._asked)
            self.received = signal.SIGTERM if agreed else None
        return self.received is not None

    def check(self) -> None:
        """Raises Stopped when it is time to stop."""
        if self.stop():
            raise Stopped

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
