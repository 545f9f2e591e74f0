"""Reading what `resnet-lab bench --json` wrote: rates, gains, and the pipelines that are known by a name."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from resnet_lib.errors import LabError
from resnet_lib.machine.files import read_json

CONVENTIONAL, OURS, BF16, FP32, COMPILED = "conventional", "ours", "bf16", "fp32", "torch.compile"
PRODUCTS = "1×1 kernels and tiny maps as matrix products"  # ResNet-20 with the CIFAR stem has neither
MACHINE = ("device_name", "threads", "instructions")  # what tells a CPU from another
WHOLE = "whole"  # of a step's seconds: all of them

Measured = dict[str, Any]  # a pipeline's name, the seconds of its start, and images/s of every repeat


def benchmarks(folder: Path) -> dict[str, dict[str, Any]]:
    """The measured machines by name, the last measured first. Raises LabError for a file that is no benchmark's."""
    found = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    return dict(sorted(found.items(), key=lambda item: item[1]["date"], reverse=True))


def _read(path: Path, help: str = "restore or delete it") -> dict[str, Any]:
    try:
        found = read_json(path)
    except ValueError:
        found = None
    if not is_benchmark(found):
        raise LabError(f"{path} is not a benchmark's: {help}")
    return found


def kept(path: Path, quick: bool, sweep: bool, here: dict[str, Any]) -> dict[str, Any]:
    """What a benchmark's file keeps of this machine: all of it beside a new sweep; else the sweep and what was noted.

    Raises LabError for a file that is none, has no benchmark to put a sweep beside, or has a whole one where a quick
    one would come.
    """
    found = _read(path, "delete it, or name another file") if path.exists() else {}
    is_ours = bool(found) and same_machine(found["environment"], here)
    if sweep and not is_ours:
        wrong = "was measured on another machine" if found else "is not there yet"
        raise LabError(f"a sweep goes into this machine's benchmark, and {path} {wrong}: run it without --sweep first")
    if quick and "peak_bytes" in found:
        raise LabError(f"{path} is a whole benchmark, more than --quick measures: name another file")
    return found if sweep else {name: found[name] for name in ("sweep", "noted") if is_ours and name in found}


def is_benchmark(found: Any) -> bool:
    """Whether it may be what `resnet-lab bench --json` wrote."""
    kinds = {"date": str, "environment": dict, "networks": dict}
    return isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())


def same_machine(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """As far as both environments tell: instructions were not noted at first, and one name covers processors with and
    without.
    """
    told = ["device_name"] if "cuda" in (one.get("device"), other.get("device")) else MACHINE
    return all(one[key] == other[key] for key in told if key in one and key in other)


def step_by_step(bench: dict[str, Any]) -> list[str]:
    """The networks of which more was measured than the first pipeline and the last; ResNet-20 in any case."""
    return [model for model, rungs in bench["networks"].items() if model == "resnet20" or len(rungs) > 2]


def precision(bench: dict[str, Any]) -> str:
    """That of ours; where a benchmark does not say it was bf16, the only one that there was."""
    return bench.get("precision", "bf16")


def rates(rung: Measured) -> np.ndarray:
    """Images/s [repeats]."""
    return np.array(rung["images_per_second"])


def rate(rung: Measured) -> float:
    """Images/s, the median of the repeats."""
    return float(np.median(rates(rung)))


def gain(rung: Measured, other: Measured) -> float:
    """How many times as fast: the median over the repeats, each of which measures both in turn."""
    return float(np.median(rates(rung) / rates(other)))


def is_faster(rung: Measured, other: Measured) -> bool:
    """Whether even its slowest repeat beats the other's fastest."""
    return bool(rates(rung).min() > rates(other).max())


def is_compiled(rung: Measured) -> bool:
    return rung["name"] == COMPILED


def tried(name: str, bench: dict[str, Any]) -> Measured | None:
    """What was measured beside ours, and is no part of it."""
    return next((rung for rung in bench.get("tried", []) if rung["name"] == name), None)


def fp32_share(bench: dict[str, Any], model: str = "resnet20") -> float | None:
    """The rate of our pipeline in fp32, as a share of that in its own precision; None if nobody tried.

    As bf16 changed it where a network was measured step by step; else as on ResNet-20.
    """
    for before, rung in pairwise(bench["networks"][model] if model != "resnet20" else []):
        if rung["name"] == BF16:
            return gain(before, rung)
    if fp32 := tried(FP32, bench):
        return rate(fp32) / rate(bench["networks"]["resnet20"][-1])
    return 1.0 if precision(bench) == "fp32" else None


def steps_to_earn_back(bench: dict[str, Any]) -> float:
    """Steps of ResNet-20 after which compilation has saved the time of its start, where ours is compiled.

    Infinite where it gains nothing beyond the ranges.
    """
    *_, before, last = bench["networks"]["resnet20"]
    if not is_faster(last, before):
        return float("inf")
    return last["start_seconds"] / (bench["batch_size"] / rate(before) - bench["batch_size"] / rate(last))
