"""What `bench.measure` found beside its rates → sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from resnet_lib.config import TEST_IMAGES, TRAIN_IMAGES
from resnet_lib.recipes import recipe
from resnet_lib.report.tables import machine
from resnet_lib.report.wording import duration
from resnet_lib.speed.measured import (
    COMPILED,
    FP32,
    WHOLE,
    gain,
    is_compiled,
    precision,
    rate,
    rates,
    steps_to_earn_back,
    tried,
)

HOW_TO_READ = (
    "Rates and gains are medians over the repeats, ranges from the slowest to the fastest. A gain is the median of the "
    "ratios within each repeat, which need not be that of the medians; one that is small beside the ranges means "
    "nothing. Start-up was measured once each, in this order, in one process: what the first pipeline loads, the "
    "others find there. Matrix products stand for convolutions by 1×1 kernels, and by 3×3 kernels on maps of at most "
    "2×2 pixels: with the CIFAR stem ResNet-20 has neither, and its ratio for them is chance. All rows, the usual "
    "script included, use the lab's memory settings (large pages, freed memory kept), whose worth is not shown."
)
PAPER_STEPS = recipe("paper", "resnet20")["iterations"]


def facts(bench: dict[str, Any]) -> list[str]:
    """One sentence each, as far as it was measured."""
    return [
        fact for tell in (_machine, _times, _compilation, _step, _memory, _evaluation, _noted) for fact in tell(bench)
    ]


def _machine(bench: dict[str, Any]) -> Iterator[str]:
    where, limits, last = bench["environment"], bench["ceiling"], bench["networks"]["resnet20"][-1]
    code = f", commit {bench['commit'][:10]}{bench['commit'][40:]}" if "commit" in bench else ""  # " with changes", too
    yield (
        f"Measured on {bench['date'][:10]}: {machine(where)}, torch {where['torch']}{code}, batch "
        f"{bench['batch_size']}; ResNet-20 in {len(last['images_per_second'])} repeats."
    )
    products = " and ".join(f"{_flops(limits[name])} in {name}" for name in ("bf16", "fp32") if name in limits)
    yield (
        f"The fastest that this machine was seen to do: {products} (products of square matrices), "
        f"{limits['copy'] / 1e9:,.0f} GB/s (copies)."
    )


def _times(bench: dict[str, Any]) -> Iterator[str]:
    last = bench["networks"]["resnet20"][-1]
    epoch = last["start_seconds"] + TRAIN_IMAGES["all"] / rate(last)
    said = (
        f"ResNet-20's first epoch, start-up included: {duration(epoch)}; the paper's {PAPER_STEPS:,} iterations, "
        f"evaluations left out: {_paper_time(last, bench)}. Both in {precision(bench)}"
    )
    if fp32 := tried(FP32, bench):
        yield (
            f"{said}; in fp32, as runs are unless told otherwise, the iterations take {_paper_time(fp32, bench)} "
            f"({rate(fp32):,.0f} images/s)."
        )
    elif precision(bench) == "bf16":
        yield f"{said} (the recipe `paper` is in fp32)."
    else:
        yield f"{said}: bf16 has no instructions here, and would be slower."


def _compilation(bench: dict[str, Any]) -> Iterator[str]:
    """When it pays, where ours is compiled; else what it would change."""
    last = bench["networks"]["resnet20"][-1]
    if is_compiled(last):
        steps = steps_to_earn_back(bench)
        if math.isinf(steps):
            yield f"What compilation gains is within the ranges; its start took {last['start_seconds']:.0f} s."
        else:
            yield (
                f"Compilation earns its start of {last['start_seconds']:.0f} s back after {_two_digits(steps)} steps "
                "of ResNet-20."
            )
    elif compiled := tried(COMPILED, bench):
        ratios = rates(compiled) / rates(last)
        yield (
            f"With torch.compile, which ours does without: {rate(compiled):,.0f} images/s, {gain(compiled, last):.2f} "
            f"times as many as ours ({ratios.min():.2f}–{ratios.max():.2f} within the repeats), after a start of "
            f"{compiled['start_seconds']:.0f} s."
        )


def _step(bench: dict[str, Any]) -> Iterator[str]:
    parts = bench.get("seconds_of_a_step", {})
    if whole := parts.get(WHOLE):  # which the first benchmarks did not measure
        shares = {kind: seconds / whole for kind, seconds in parts.items() if kind != WHOLE}
        told = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in shares.items())
        flops = bench["batch_size"] * bench["flops_per_image"]["resnet20"]
        limit = bench["ceiling"][precision(bench)]
        now, bound = (100 * flops / seconds / limit for seconds in (whole, parts["convolutions"]))
        yield (
            f"The time of a step of ResNet-20: {told}, all else {100 * max(0, 1 - sum(shares.values())):.0f} %. "
            f"In the few steps measured for this it reached {now:.0f} % of the fastest {precision(bench)} matmul; if "
            f"all but the convolutions took no time, it would reach {bound:.0f} %."
        )


def _memory(bench: dict[str, Any]) -> Iterator[str]:
    if peaks := bench.get("peak_bytes"):
        needed = " and ".join(
            f"{f'{peak / 2**20:,.0f} MiB' if peak else 'not measured'} ({name})" for name, peak in peaks.items()
        )
        yield f"Peak memory for training ResNet-110, beyond the network and the images: {needed}."


def _evaluation(bench: dict[str, Any]) -> Iterator[str]:
    if found := bench.get("evaluation"):
        epoch = TRAIN_IMAGES["all"] / rate(bench["networks"]["resnet20"][-1])
        share = TEST_IMAGES["all"] / rate(found) / epoch
        yield f"Evaluating the test images takes {100 * share:.1f} % of the time of an epoch."


def _noted(bench: dict[str, Any]) -> Iterator[str]:
    """What was measured by hand beside the benchmark, as it was written down."""
    for note in bench.get("noted", []):
        yield f"Noted by hand: {note}"


def _paper_time(rung: dict[str, Any], bench: dict[str, Any]) -> str:
    return duration(rung["start_seconds"] + PAPER_STEPS * bench["batch_size"] / rate(rung))


def _flops(per_second: float) -> str:
    return f"{per_second / 1e9:,.0f} GFLOP/s" if per_second < 1e13 else f"{per_second / 1e12:,.0f} TFLOP/s"


def _two_digits(count: float) -> str:
    return f"{float(f'{count:.1e}'):,.0f}"
