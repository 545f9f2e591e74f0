"""What `bench.measure` found beside its rates → sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from resnet_lib.config import TEST_IMAGES, TRAIN_IMAGES
from resnet_lib.recipes import recipe
from resnet_lib.report.tables import machine

PAPER_STEPS = recipe("paper", "resnet20")["iterations"]


def facts(bench: dict[str, Any]) -> list[str]:
    """One sentence each, as far as it was measured."""
    return [fact for tell in (_machine, _times, _compilation, _step, _memory, _evaluation) for fact in tell(bench)]


def gain(rates: np.ndarray, others: np.ndarray) -> float:
    """How many times as fast: the median over the repeats, each of which measures both in turn."""
    return float(np.median(rates / others))


def _machine(bench: dict[str, Any]) -> Iterator[str]:
    where, limits, last = bench["environment"], bench["ceiling"], bench["networks"]["resnet20"][-1]
    yield (
        f"Measured on {bench['date'][:10]}: {machine(where)}, torch {where['torch']}, batch {bench['batch_size']}; "
        f"ResNet-20 in {len(last['images_per_second'])} repeats; rates and gains are medians over the repeats, ranges "
        "from the slowest to the fastest. A gain is the median of the ratios within each repeat, which need not be "
        "that of the medians; one that is small beside the ranges means nothing."
    )
    yield (
        f"Peak of this machine: {limits['bf16'] / 1e9:,.0f} GFLOP/s in bf16, {limits['fp32'] / 1e9:,.0f} in fp32 "
        f"(square matrix products), {limits['copy'] / 1e9:,.1f} GB/s (copies)."
    )


def _times(bench: dict[str, Any]) -> Iterator[str]:
    last = bench["networks"]["resnet20"][-1]
    epoch = last["start_seconds"] + TRAIN_IMAGES["all"] / _rate(last)
    said = (
        f"ResNet-20's first epoch, start-up included: {_duration(epoch)}; the paper's {PAPER_STEPS:,} iterations, "
        f"evaluations left out: {_paper_time(last, bench)}. Both in bf16"
    )
    if fp32 := _tried("fp32", bench):
        yield (
            f"{said}; in fp32, as runs are unless told otherwise, the iterations take {_paper_time(fp32, bench)} "
            f"({_rate(fp32):,.0f} images/s)."
        )
    else:
        yield f"{said} (the recipe `paper` is in fp32)."


def _compilation(bench: dict[str, Any]) -> Iterator[str]:
    """When it pays, where ours is compiled; else what it would change."""
    *_, before, last = bench["networks"]["resnet20"]
    if last["name"] == "torch.compile":
        if min(last["images_per_second"]) <= max(before["images_per_second"]):
            yield f"What compilation gains is within the ranges; its start took {last['start_seconds']:.0f} s."
            return
        saved = bench["batch_size"] / _rate(before) - bench["batch_size"] / _rate(last)
        yield (
            f"Compilation earns its start of {last['start_seconds']:.0f} s back after "
            f"{round(last['start_seconds'] / saved, -3):,.0f} steps of ResNet-20."
        )
    elif compiled := _tried("torch.compile", bench):
        faster = gain(np.array(compiled["images_per_second"]), np.array(last["images_per_second"]))
        yield (
            f"With torch.compile, which ours does without: {_rate(compiled):,.0f} images/s, {faster:.2f} times as fast "
            f"as ours, after a start of {compiled['start_seconds']:.0f} s."
        )


def _step(bench: dict[str, Any]) -> Iterator[str]:
    if parts := bench.get("seconds_of_a_step"):
        *_, eager = (rung for rung in bench["networks"]["resnet20"] if rung["name"] != "torch.compile")
        steps_per_second = _rate(eager) / bench["batch_size"]
        # Benchmarks before this one also have the rest as it was measured, without Python's own time.
        shares = {kind: seconds * steps_per_second for kind, seconds in parts.items() if kind != "all else"}
        told = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in shares.items())
        flops = bench["batch_size"] * bench["flops_per_image"]["resnet20"]
        bound = flops / parts["convolutions"] / bench["ceiling"]["bf16"]
        yield (
            f"The time of a step of ResNet-20: {told}, all else {100 * (1 - sum(shares.values())):.0f} %. If all but "
            f"the convolutions took no time, it would reach {100 * bound:.0f} % of the bf16 peak."
        )


def _memory(bench: dict[str, Any]) -> Iterator[str]:
    if peaks := bench.get("peak_bytes"):
        needed = " and ".join(
            f"{f'{peak / 2**20:,.0f} MiB' if peak else 'not measured'} ({name})" for name, peak in peaks.items()
        )
        yield f"Peak memory for training ResNet-110, beyond the network and the images: {needed}."


def _evaluation(bench: dict[str, Any]) -> Iterator[str]:
    if found := bench.get("evaluation"):
        epoch = TRAIN_IMAGES["all"] / _rate(bench["networks"]["resnet20"][-1])
        share = TEST_IMAGES["all"] / _rate(found) / epoch
        yield f"Evaluating the test images takes {100 * share:.1f} % of the time of an epoch."


def _tried(name: str, bench: dict[str, Any]) -> dict[str, Any] | None:
    """What was measured beside ours, and is no part of it."""
    return next((rung for rung in bench.get("tried", []) if rung["name"] == name), None)


def _rate(rung: dict[str, Any]) -> float:
    return float(np.median(rung["images_per_second"]))


def _paper_time(rung: dict[str, Any], bench: dict[str, Any]) -> str:
    return _duration(rung["start_seconds"] + PAPER_STEPS * bench["batch_size"] / _rate(rung))


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
