"""How fast a run is: tokens and FLOPs a second, without what is no part of a step."""

import contextlib
import time
from collections.abc import Callable, Iterator


class Throughput:
    """Tokens a second between two readings, leaving out what is put aside.

    Begun at 0 s; 200 tokens; the 3 s from 1 s to 4 s put aside; read at 5 s:

    >>> throughput = Throughput(clock=iter([0.0, 1.0, 4.0, 5.0]).__next__)
    >>> throughput.count(200)
    >>> with throughput.aside():
    ...     pass
    >>> throughput.read()
    100.0
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._tokens = 0
        self._flops = self._aside = 0.0
        self.flops_per_second: float | None = None
        self._since = clock()

    def count(self, tokens: int, flops: float = 0.0) -> None:
        """Counts the tokens of a step, and its FLOPs where they are of interest; not those of a
        step whose own time was put aside."""
        self._tokens += tokens
        self._flops += flops

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leaves the time of the block out: compilation, evaluation, saving."""
        start = self._clock()
        try:
            yield
        finally:
            self._aside += self._clock() - start

    def read(self) -> float | None:
        """Tokens a second since the last reading, or None when nothing was counted.

        `flops_per_second` is of the same time.
        """
        now = self._clock()
        seconds = now - self._since - self._aside
        tokens, flops = self._tokens, self._flops
        self._tokens, self._flops, self._aside, self._since = 0, 0.0, 0.0, now
        counted = tokens and seconds > 0
        self.flops_per_second = flops / seconds if counted else None
        return tokens / seconds if counted else None
