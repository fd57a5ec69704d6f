"""Standard error and standard output that cannot be written: a full disk, a closed pipe.

The log is not an output of a run: if it is lost, the run continues. What a command prints on
standard output is its result: if it is lost, the command exits with 74, or silently if the reader
closed the pipe, as `head` does.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from pretrain_jax.errors import UnwritableOutput


class GuardedStream:
    """A text stream that calls a function when a write fails; otherwise the wrapped stream."""

    def __init__(self, stream: Any, failed: Callable[[OSError], None]):
        self._stream = io.StringIO() if stream is None else stream  # None: the caller closed it
        self._failed = failed

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        """Sends buffered and future output to /dev/null and calls the function."""
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, self._stream.fileno())
        os.close(devnull)
        self._failed(error)


def wrap_standard_streams() -> None:
    """Replaces sys.stderr and sys.stdout by guarded streams."""
    sys.stderr = GuardedStream(sys.stderr, lambda error: None)
    sys.stdout = guard_result(sys.stdout)


def guard_result(stream: Any) -> Any:
    """A stream for the result of a command; it raises UnwritableOutput or BrokenPipeError."""
    return GuardedStream(stream, _result_lost)


def _result_lost(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise error
    raise UnwritableOutput(
        f"standard output must be writable; {error.strerror}. Free some space, or redirect it "
        "elsewhere"
    ) from error
