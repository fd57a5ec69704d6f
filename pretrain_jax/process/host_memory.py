"""Checks that something fits into the memory of this machine before it is allocated."""

import os

from pretrain_jax.errors import OutOfMemory

GIB = 2**30


def total_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(needed: int, what: str, fix: str, available: int | None = None) -> None:
    """Raises OutOfMemory if `needed` bytes exceed `available` (default: all of this machine).

    >>> check_memory(10**6, "the parameters", "Lower model.width")
    >>> check_memory(10**18, "the parameters", "Lower model.width", available=10**9)
    Traceback (most recent call last):
    pretrain_jax.errors.OutOfMemory: the parameters take 931322574.6 GiB ...
    """
    limit = total_memory() if available is None else available
    if needed > limit:
        raise OutOfMemory(
            f"{what} take {needed / GIB:,.1f} GiB, but {limit / GIB:,.1f} GiB are available. {fix}"
        )
