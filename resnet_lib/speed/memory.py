"""The memory that training takes at its peak, measured in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch

from resnet_lib.errors import LabError
from resnet_lib.machine.device import out_of_memory
from resnet_lib.runs import pool
from resnet_lib.speed.pipelines import Pipeline, Rung


def peak_memory(model: str, rung: Rung, say: Callable[[str], None]) -> int | None:
    """Bytes that training needs at its peak beyond the network and the images; None where that cannot be read."""
    say(f"{model}: peak memory of “{rung.name}”")
    try:
        return pool.apart(_peak_memory, model, rung)
    except (LabError, MemoryError, RuntimeError) as error:
        if not isinstance(error, LabError) and not out_of_memory(error):
            raise
        say(f"the peak memory of “{rung.name}” is not known: {error}")  # what was measured before is worth more
        return None


def _peak_memory(model: str, rung: Rung) -> int | None:
    pipeline = Pipeline(model, rung)
    before = _bytes_in_use(pipeline.device)
    if pipeline.device.type == "cuda":  # in the first step cuDNN tries algorithms that it then does without
        pipeline.steps(2)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    pipeline.steps(2)
    after = _bytes_at_the_peak(pipeline.device)
    return None if before is None or after is None else after - before


def _bytes_in_use(device: torch.device) -> int | None:
    return torch.cuda.memory_allocated() if device.type == "cuda" else _bytes_of_process("VmRSS")


def _bytes_at_the_peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_reserved() if device.type == "cuda" else _bytes_of_process("VmHWM")


def _bytes_of_process(field: str) -> int | None:
    """As Linux tells it; None elsewhere."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else None
