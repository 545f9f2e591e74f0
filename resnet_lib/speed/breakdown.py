"""Where the time of a step goes: seconds by kind of operation, taken as each operation is called and returns."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_lib.speed.pipelines import Pipeline

KINDS = {"conv": "convolutions", "batch_norm": "batch normalisation"}  # a part of an operation's name → its kind


class Stopwatch(TorchDispatchMode):
    """Adds up the seconds of KINDS. Only on a CPU do calls return when the work is done.

    PyTorch's profiler tells more, but keeps so much memory that a step on a CPU takes a third longer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = next((kind for part, kind in KINDS.items() if part in str(function)), None)
        began = time.perf_counter()
        result = function(*args, **(kwargs or {}))
        if kind:
            self.seconds[kind] += time.perf_counter() - began
        return result


def seconds_of_a_step(pipeline: Pipeline, steps: int = 15) -> dict[str, float]:
    """Seconds of a training step in each of KINDS, the median of so many steps; {} where a call does not wait.

    What else a step takes, Python's own time included, is the rest of its time without a stopwatch.
    """
    if pipeline.device.type != "cpu" or pipeline.rung.choice.compile:
        return {}
    found = []
    for _ in range(steps):
        with Stopwatch() as watch:
            pipeline.steps(1)
        found.append(watch.seconds)
    return {kind: float(np.median([seconds[kind] for seconds in found])) for kind in KINDS.values()}
