"""Standard error and standard output that cannot be written: a full disk, a reader that went away.

The log is no output of a run: where it is lost, the run goes on. What a command prints on standard
output is its result: where that is lost, the command ends with 74, or quietly where its reader has
seen enough, as `head` does.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from pretrain_jax.errors import UnwritableOutput


class Stream:
    """A text stream whose failed writes are handed to a function; all else is the stream's own."""

    def __init__(self, stream: Any, failed: Callable[[OSError], None]):
        self._stream = io.StringIO() if stream is None else stream  # the caller had closed it
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
        """What is still buffered, and all that follows, goes nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        self._failed(error)


def take() -> None:
    """Takes the place of both streams of this process."""
    sys.stderr = Stream(sys.stderr, lambda error: None)
    sys.stdout = Stream(sys.stdout, _result_lost)


def _result_lost(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise error
    raise UnwritableOutput(
        f"standard output must be writable; {error.strerror}; free some space, or send it elsewhere"
    ) from error
