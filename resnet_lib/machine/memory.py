"""What becomes of freed memory: given back to the system, or kept for the next step."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MIB = 1 << 20


def keep_freed(keep: bool = True) -> bool:
    """Have the C library keep what is freed, or again leave it to glibc; whether this one can be told.

    A step allocates and frees the same hundreds of MiB as the one before. What goes back to the system in between comes
    back a page at a time, cleared, each with a fault. On two cores a step of ResNet-20 in fp32 had 5,000 of them, some
    hundredths of its time; compiled it had 35,000, a quarter. The benchmark shows little of that: by the time that it
    compares, its process has freed blocks of all sizes, and glibc keeps them.
    Left to itself glibc maps a block anew where none so large has been freed before, or it is beyond 32 MiB, and gives
    back the end of its heap beyond twice that. macOS, Windows and musl cannot be told.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    block, end = (1024 * MIB, 2**31 - 1) if keep else (32 * MIB, 64 * MIB)
    is_set = mallopt(M_MMAP_THRESHOLD, block) or mallopt(M_MMAP_THRESHOLD, 32 * MIB)  # the most before glibc 2.35
    return bool(is_set and mallopt(M_TRIM_THRESHOLD, end))
