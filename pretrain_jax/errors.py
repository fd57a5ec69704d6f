"""Errors for users. Each class has the exit code of the command that raises it.

A message states what must hold, what was received and the likely fix:

>>> raise ConfigError("train.batch_size must be a multiple of mesh.data x mesh.fsdp; "
...                   "received 6 on a mesh of 4; the nearest batch sizes are 4 and 8")
Traceback (most recent call last):
pretrain_jax.errors.ConfigError: train.batch_size must be a multiple ...
"""

import math
from collections.abc import Sequence


class UserError(Exception):
    """Something the user can fix. Commands print the message without a traceback."""

    exit_code = 64


class ConfigError(UserError):
    """An invalid config or command line."""

    exit_code = 64


class DataError(UserError):
    """The data exists but cannot be used: invalid UTF-8, malformed JSON, an empty corpus."""

    exit_code = 65


class BadLabel(DataError):
    """A label that the objective cannot read.

    record: the number of its record in the split, from 0. RECORD in `message` stands for its place.
    """

    RECORD = "{record}"

    def __init__(self, message: str, record: int):
        super().__init__(message.replace(self.RECORD, f"record {record + 1}"))
        self.message, self.record = message, record

    def at(self, place: str) -> DataError:
        """The error with the place of the record, such as "a.tsv line 7"."""
        return DataError(self.message.replace(self.RECORD, place))


class InputMissing(UserError):
    """A file, glob or data set does not exist."""

    exit_code = 66


class WorkdirMismatch(UserError):
    """The workdir belongs to another config, its data has changed, or its checkpoints are gone."""

    exit_code = 78


class NonFinite(UserError):
    """The loss, a gradient or the state is NaN or infinite. The state is not saved."""

    exit_code = 81


class WorkdirInUse(UserError):
    """Another process is training in this workdir."""

    exit_code = 82


class Interrupted(UserError):
    """Stopped by a signal; nothing is lost. The same command resumes the run."""

    exit_code = 75


class UnwritableWorkdir(UserError):
    """The workdir is not writable."""

    exit_code = 74


class UnwritableOutput(UserError):
    """Standard output is not writable."""

    exit_code = 74


class ChildLost(UserError):
    """A child process was killed, or exited without a result."""

    exit_code = 71


class OutOfMemory(UserError):
    """The run needs more memory than a device has."""

    exit_code = 71


class HostMissing(UserError):
    """Another process of this run is missing, or did not join in time."""

    exit_code = 69


def short_repr(value: object) -> str:
    """The repr of a received value for a message, truncated when it is long.

    >>> short_repr("x" * 300)[-5:]
    'x ...'
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int with too many digits; a deeply nested tuple
        return f"a very large {type(value).__name__}"
    return text if len(text) <= MAX_REPR else f"{text[:MAX_REPR]} ..."


MAX_REPR = 200
"""Characters of a value that a message shows."""


def list_names(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are, for a message.

    >>> list_names(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def nearest_divisors(size: int, wanted: int, count: int = 3) -> list[int]:
    """Returns the divisors of `size` that are nearest to `wanted`, ascending, for a message.

    >>> nearest_divisors(12, 5)
    [3, 4, 6]
    """
    small = [n for n in range(1, math.isqrt(size) + 1) if size % n == 0]
    legal = sorted({*small, *(size // n for n in small)})
    return sorted(sorted(legal, key=lambda n: abs(n - wanted))[:count])
