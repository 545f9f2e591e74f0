"""How many of the CPU's cores this process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a Linux container: microseconds of CPU time, and of the period it is for


def cores() -> int:
    """Those that a cluster or a container leaves it."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or one without a quota: `max`
        quota, period = map(int, QUOTA.read_text().split())
        found = min(found, max(1, quota // period))
    return found
