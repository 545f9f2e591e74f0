"""What becomes of freed memory."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MIB = 1 << 20


def keep_freed() -> None:
    """Have the C library keep what is freed, instead of giving it back to the system.

    A step allocates and frees the same hundreds of MiB as the one before. What was given back comes again a page at a
    time, cleared, each with a fault. On two cores a step of ResNet-20 in fp32 had 5,000 of them, some hundredths of its
    time; compiled it had 35,000, a quarter. macOS, Windows and musl cannot be told.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    if mallopt(M_MMAP_THRESHOLD, 1024 * MIB) or mallopt(M_MMAP_THRESHOLD, 32 * MIB):  # the most before glibc 2.35
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
