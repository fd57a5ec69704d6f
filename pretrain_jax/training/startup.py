"""Measures the startup of a run: from the import of the package to the end of the first step."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pretrain_jax


class Startup:
    """Seconds of each part of the startup, reported in one line.

    >>> startup = Startup(age=3.0)
    >>> with startup.part("data"):
    ...     pass
    >>> startup.line()
    'first step after 3.0 s: imports 3.0, data 0.0'
    """

    def __init__(
        self, age: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """age: seconds since the import of the package; None means measured."""
        self._clock = clock
        self._created = clock()
        self._age = self._created - pretrain_jax.BEGAN if age is None else age
        self._parts: list[tuple[str, float]] = [("imports", self._age)]

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measures a block as one part of the startup."""
        start = self._clock()
        yield
        self._parts.append((name, self._clock() - start))

    def line(self) -> str:
        """The total and all parts, in the order in which they ended."""
        total = self._age + self._clock() - self._created
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._parts)
        return f"first step after {total:.1f} s: {parts}"
