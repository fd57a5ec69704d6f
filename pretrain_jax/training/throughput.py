"""Tokens and FLOPs per second of training steps, without the time of other work."""

import contextlib
import time
from collections.abc import Callable, Iterator


class Throughput:
    """Tokens per second between two readings, without excluded time.

    Start at 0 s; 200 tokens; the 3 s from 1 s to 4 s are excluded; reading at 5 s:

    >>> throughput = Throughput(clock=iter([0.0, 1.0, 4.0, 5.0]).__next__)
    >>> throughput.count(200)
    >>> with throughput.excluded():
    ...     pass
    >>> throughput.read()
    100.0
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._tokens = 0
        self._flops = self._excluded = 0.0
        self.flops_per_second: float | None = None
        self._since = clock()

    def count(self, tokens: int, flops: float = 0.0) -> None:
        """Counts the tokens and the FLOPs of a step. Do not count steps whose time is excluded."""
        self._tokens += tokens
        self._flops += flops

    @contextlib.contextmanager
    def excluded(self) -> Iterator[None]:
        """Excludes the time of the block: compilation, evaluation, saving."""
        start = self._clock()
        try:
            yield
        finally:
            self._excluded += self._clock() - start

    def read(self) -> float | None:
        """Tokens per second since the last reading; None if no tokens were counted.

        Also sets `flops_per_second`, for the same time.
        """
        now = self._clock()
        seconds = now - self._since - self._excluded
        tokens, flops = self._tokens, self._flops
        self._tokens, self._flops, self._excluded, self._since = 0, 0.0, 0.0, now
        has_rate = tokens and seconds > 0
        self.flops_per_second = flops / seconds if has_rate else None
        return tokens / seconds if has_rate else None
