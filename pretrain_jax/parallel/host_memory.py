"""The C heap of a process that computes on CPU.

XLA's CPU backend allocates its temporary buffers anew at every execution. glibc gives blocks of
that size back to the kernel and asks for them again, so that each step pays for fresh pages (4 KiB
at a time): more than half of the time of a large element-wise operation. Keeping the pages makes a
step of a small GPT 1.2 to 1.6 times faster (docs/performance.md).
"""

import ctypes
import sys
from pathlib import Path

ACCELERATORS = ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0", "/dev/kfd")
# Parameters of mallopt, from glibc's malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8


def keep() -> bool:
    """Tells glibc to keep freed memory; returns whether it was told.

    Call it before jax is imported: threads that have allocated keep their own arenas. Does
    nothing where there is an accelerator, or another C library (macOS, musl).
    """
    if not sys.platform.startswith("linux") or any(Path(p).exists() for p in ACCELERATORS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20))
    return all([mallopt(name, value) for name, value in settings])  # noqa: C419 (each must be told)
