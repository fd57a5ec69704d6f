"""The C heap of a process that computes on CPU.

XLA's CPU backend allocates its temporary buffers anew at every execution. glibc returns blocks of
that size to the kernel and requests them again, so each step pays for fresh pages of 4 KiB: more
than half of the time of a large element-wise operation. Keeping the pages makes a step of a small
GPT 1.2 to 1.6 times faster; huge pages make a large step a few per cent faster still
(docs/performance.md).
"""

import ctypes
import os
import sys
from pathlib import Path

from pretrain_jax.rounding import round_up

ACCELERATORS = ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0", "/dev/kfd")
# Parameters of mallopt, from glibc's malloc.h; a trim threshold of -1 is the largest value.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
SETTINGS = ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 64 << 20))
"""One arena only: further arenas have no room for blocks above 64 MiB, and glibc unmaps such blocks
as soon as they are freed. Chance decides which threads run a step, so its speed would vary."""
MADV_HUGEPAGE = 14  # from Linux's mman.h
HUGE_PAGE = 2 << 20
SHARE = 4
"""The heap grows by 1 / SHARE of the machine's memory at the start, in addresses only."""


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory, in huge pages; returns whether glibc accepted.

    Call it before jax is imported, because threads keep the arenas in which they have allocated.
    Does nothing with an accelerator or with another C library (macOS, musl).
    """
    if not sys.platform.startswith("linux") or any(Path(p).exists() for p in ACCELERATORS):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    accepted = all(libc.mallopt(name, value) for name, value in SETTINGS)
    return accepted and request_huge_pages(libc)


def request_huge_pages(libc: ctypes.CDLL) -> bool:
    """Grows the heap once, requests huge pages for all of it, and returns it to malloc.

    This takes addresses only; memory is used when it is written to. Later growth of the heap would
    not inherit the request.
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = libc.malloc(size)
    if not block:  # the kernel does not overcommit memory
        return False
    first = round_up(block, HUGE_PAGE)
    accepted = libc.madvise(first, size - 2 * HUGE_PAGE, MADV_HUGEPAGE) == 0
    libc.free(block)
    return accepted
