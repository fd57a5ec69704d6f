"""Whether what is asked for fits into this machine, said before anything is allocated."""

import os

from pretrain_jax.errors import OutOfMemory

GIB = 2**30


def of_host() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check(needed: int, what: str, fix: str, there: int | None = None) -> None:
    """Raises OutOfMemory where `needed` bytes are more than `there` are (this machine's memory).

    >>> check(10**6, "the parameters", "Lower model.width")
    >>> check(10**18, "the parameters", "Lower model.width", there=10**9)
    Traceback (most recent call last):
    pretrain_jax.errors.OutOfMemory: the parameters take 931322574.6 GiB ...
    """
    room = of_host() if there is None else there
    if needed > room:
        raise OutOfMemory(
            f"{what} take {needed / GIB:,.1f} GiB, and there are {room / GIB:,.1f} GiB. {fix}"
        )
