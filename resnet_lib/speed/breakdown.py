"""Where the time of a step goes: seconds by kind of operation, taken as each operation is called and returns."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_lib.speed.measured import WHOLE
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
    """Seconds of a training step as a WHOLE and in each of KINDS, medians of so many; {} where a call does not wait.

    The whole is measured in turn with the others, without a stopwatch, and has Python's own time, too.
    """
    if pipeline.device.type != "cpu" or pipeline.rung.choice.compile:
        return {}
    found = []
    for _ in range(steps):
        with Stopwatch() as watch:
            pipeline.steps(1)
        began = time.perf_counter()
        pipeline.steps(1)
        found.append(watch.seconds | {WHOLE: time.perf_counter() - began})
    return {kind: float(np.median([seconds[kind] for seconds in found])) for kind in (WHOLE, *KINDS.values())}
