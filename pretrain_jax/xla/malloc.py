"""The C heap of a process that computes on CPU.

XLA's CPU backend allocates its temporary buffers anew at every execution. glibc gives blocks of
that size back to the kernel and asks for them again, so that each step pays for fresh pages (4 KiB
at a time): more than half of the time of a large element-wise operation. Keeping the pages makes a
step of a small GPT 1.2 to 1.6 times faster, huge pages a large step some per cent more
(docs/performance.md).
"""

import ctypes
import os
import sys
from pathlib import Path

ACCELERATORS = ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0", "/dev/kfd")
# Parameters of mallopt, from glibc's malloc.h; a trim threshold of -1 is the largest there is.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
SETTINGS = ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 64 << 20))
"""One arena: another has no room for blocks above 64 MiB, and what glibc maps for them instead it
gives back at once. Which threads run a step is chance, and so its speed would be."""
MADV_HUGEPAGE = 14  # from Linux's mman.h
HUGE_PAGE = 2 << 20
SHARE = 4
"""One part in so many of the machine's memory is set aside, as addresses only, for the heap."""


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed memory, in huge pages; returns whether it was told.

    Call it before jax is imported: threads that have allocated keep their own arenas. Does
    nothing where there is an accelerator, or another C library (macOS, musl).
    """
    if not sys.platform.startswith("linux") or any(Path(p).exists() for p in ACCELERATORS):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    told = all(libc.mallopt(name, value) for name, value in SETTINGS)
    return told and ask_for_huge_pages(libc)


def ask_for_huge_pages(libc: ctypes.CDLL) -> bool:
    """Grows the heap once, asks for huge pages over all of it, and gives it back to malloc.

    Only addresses are taken: memory is used when it is written to. Later growth of the heap would
    not inherit the advice.
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = libc.malloc(size)
    if not block:  # a kernel that commits memory strictly
        return False
    first = -(-block // HUGE_PAGE) * HUGE_PAGE
    given = libc.madvise(first, size - 2 * HUGE_PAGE, MADV_HUGEPAGE) == 0
    libc.free(block)
    return given
