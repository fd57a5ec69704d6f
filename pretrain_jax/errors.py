"""Errors for people. Each carries the exit code that the command ends with.

A message states the invariant, what was received and the likely fix:

>>> raise ConfigError("train.batch_size must be a multiple of mesh.data x mesh.fsdp; "
...                   "received 6 on a mesh of 4; the nearest batch sizes are 4 and 8")
Traceback (most recent call last):
pretrain_jax.errors.ConfigError: train.batch_size must be a multiple ...
"""

import math


class UserError(Exception):
    """Something the user can mend. Commands print the message alone, without a traceback."""

    exit_code = 64


class ConfigError(UserError):
    """A bad configuration or a bad command line."""

    exit_code = 64


class DataError(UserError):
    """The data is there but cannot be used: invalid UTF-8, malformed JSON, an empty corpus."""

    exit_code = 65


class InputMissing(UserError):
    """A file, a glob or a data set that does not exist."""

    exit_code = 66


class WorkdirMismatch(UserError):
    """The workdir belongs to another configuration, its data is no longer the same, or checkpoints
    that it had are gone."""

    exit_code = 78


class NonFinite(UserError):
    """The loss, a gradient or the state is NaN or infinite; nothing of it is saved."""

    exit_code = 81


class WorkdirInUse(UserError):
    """Another process trains in this workdir."""

    exit_code = 82


class Interrupted(UserError):
    """Stopped by a signal, with nothing lost: the same command goes on from here."""

    exit_code = 75


class UnwritableWorkdir(UserError):
    """The workdir cannot be written to."""

    exit_code = 74


class UnwritableOutput(UserError):
    """Standard output cannot be written to."""

    exit_code = 74


class ChildLost(UserError):
    """A process that this one began was killed, or ended without an answer."""

    exit_code = 71


class OutOfMemory(UserError):
    """A device has less memory than the run takes."""

    exit_code = 71


class HostMissing(UserError):
    """A process of this run is not there, or did not come in time."""

    exit_code = 69


def shown(value: object) -> str:
    """A value that was received, for a message: its repr, cut where it is long.

    >>> shown("x" * 300)[-5:]
    'x ...'
    """
    try:
        written = repr(value)
    except (ValueError, RecursionError):  # an int of more digits than Python writes; a deep tuple
        return f"a very large {type(value).__name__}"
    return written if len(written) <= LONGEST_SHOWN else f"{written[:LONGEST_SHOWN]} ..."


LONGEST_SHOWN = 200


def nearest_divisors(size: int, wanted: int, count: int = 3) -> list[int]:
    """Returns the divisors of `size` that are nearest to `wanted`, ascending, for a message.

    >>> nearest_divisors(12, 5)
    [3, 4, 6]
    """
    small = [n for n in range(1, math.isqrt(size) + 1) if size % n == 0]
    legal = sorted({*small, *(size // n for n in small)})
    return sorted(sorted(legal, key=lambda n: abs(n - wanted))[:count])
