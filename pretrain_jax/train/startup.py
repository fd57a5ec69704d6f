"""Where the time goes from the start of a process to the end of its first step."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path


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
        """age: seconds that the process has run; asked of the system where it is None."""
        self._age = process_age() if age is None else age
        self._clock = clock
        self._created = clock()
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


def process_age(stat: Path = Path("/proc/self/stat")) -> float:
    """Seconds since this process began; 0 where the system does not tell (no Linux)."""
    if not stat.exists():
        return 0.0
    # Field 22, counted from behind the name, which may hold blanks: ticks since the boot.
    ticks = int(stat.read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
