"""Where the time goes from the first import of the package to the end of the first step."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pretrain_jax


class Startup:
    """Seconds of the parts of a start, told in one line.

    >>> startup = Startup(age=3.0)
    >>> with startup.part("data"):
    ...     pass
    >>> startup.line()
    'first step after 3.0 s: imports 3.0, data 0.0'
    """

    def __init__(
        self, age: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """age: seconds since the package was imported, measured where it is None."""
        self._clock = clock
        self._created = clock()
        self._age = self._created - pretrain_jax.BEGAN if age is None else age
        self._parts: list[tuple[str, float]] = [("imports", self._age)]

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A block that belongs to the start."""
        begun = self._clock()
        yield
        self._parts.append((name, self._clock() - begun))

    def line(self) -> str:
        """All parts, in their order."""
        whole = self._age + self._clock() - self._created
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._parts)
        return f"first step after {whole:.1f} s: {parts}"
