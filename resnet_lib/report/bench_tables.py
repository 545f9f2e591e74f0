"""What `bench.measure` found → tables, all columns text, and pages of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from resnet_lib.architecture import Architecture
from resnet_lib.config import TRAIN_IMAGES
from resnet_lib.questions import paper_runs
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import find_seeds
from resnet_lib.records.record import Record
from resnet_lib.report import bench_facts
from resnet_lib.report.tables import folded, machine, markdown
from resnet_lib.speed.measured import (
    CONVENTIONAL,
    FP32,
    OURS,
    gain,
    is_compiled,
    precision,
    rate,
    rates,
    same_machine,
    step_by_step,
    tried,
)

FIGURES = "../../img/bench_{}.png"  # seen from the page of all that was measured
FAST_TIMES = "The recipe `fast`; times include one evaluation per epoch, and compilation where a run was compiled:"
SWEEP = (
    "Measured apart, by `--sweep`: to be compared within a row, not with the tables above. Our pipeline without "
    "torch.compile, ResNet-20 unless a depth is given; medians of three repeats (concurrent runs: one). On a machine "
    "with ranges as above, small differences mean nothing:"
)


def ladder(bench: dict[str, Any], model: str = "resnet20") -> pd.DataFrame:
    """One row per pipeline, each with the improvements of those above it."""
    rungs = bench["networks"][model]
    rows = []
    for before, rung in zip([None, *rungs], rungs, strict=False):
        rows.append(
            {
                "pipeline": title(rung),
                "images/s": f"{rate(rung):,.0f}",
                "range": f"{rates(rung).min():,.0f}–{rates(rung).max():,.0f}",
                "× conventional": f"{gain(rung, rungs[0]):.2f}",
                "× the row above": f"{gain(rung, before):.2f}" if before else "",
                "start-up": f"{rung['start_seconds']:.1f} s",
            }
        )
    return pd.DataFrame(rows)


def title(rung: dict[str, Any]) -> str:
    """`conventional`, or what was added to the pipeline before: `+ bf16`."""
    return rung["name"] if rung["name"] in (CONVENTIONAL, OURS) else f"+ {rung['name']}"


def networks(bench: dict[str, Any]) -> pd.DataFrame:
    """A column for each network: the usual pipeline and ours, and ours as a share of the machine's matrix rate."""
    columns: dict[str, dict[str, str]] = {}
    for model, rungs in bench["networks"].items():
        first, last = rungs[0], rungs[-1]
        flops = rate(last) * bench["flops_per_image"][model]
        columns[Architecture(model).title] = {
            "repeats": str(len(rates(last))),
            "compiled": "yes" if is_compiled(last) else "no",
            "conventional, images/s": f"{rate(first):,.0f}",
            "ours, images/s": f"{rate(last):,.0f}",
            "ours ÷ conventional": f"{gain(last, first):.2f}",
            "GFLOP/s of ours": f"{flops / 1e9:,.0f}",
            f"% of fastest {precision(bench)} matmul": f"{100 * flops / bench['ceiling'][precision(bench)]:.0f}",
        }
    return pd.DataFrame(columns).reset_index(names="")


def time_to_accuracy(bench: dict[str, Any], records: list[Record], target: float) -> pd.DataFrame:
    """One row per run: its accuracy and length, also in conventional epochs of the benchmark.

    And when it first had `target` (%), if any run ever had.
    """
    epoch = TRAIN_IMAGES["all"] / rate(bench["networks"]["resnet20"][0])
    rows, times = [], []
    for record in records:
        seconds = np.cumsum([row["seconds"] for row in record.history])
        reached = [row["test_accuracy"] >= target / 100 for row in record.history]
        times.append(_length(seconds[reached.index(True)], epoch) if any(reached) else "")
        rows.append(
            {
                "seed": str(record.config.seed),
                "epochs": str(len(record.history)),
                "test accuracy, last epoch": f"{100 * record.accuracy:.2f} %",
                "whole run (in epochs of the conventional pipeline)": _length(seconds[-1], epoch),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(**{f"to {target:g} %": [time or "not reached" for time in times]}) if any(times) else table


def _length(seconds: float, epoch: float) -> str:
    return f"{seconds / 60:.1f} min ({seconds / epoch:.1f})"


def latest(benches: list[dict[str, Any]]) -> str:
    """What the README shows: the CPU and the GPU that were measured last."""
    if not benches:
        return NOT_YET
    parts = []
    for bench in {bench["environment"]["device"]: bench for bench in reversed(benches)}.values():
        rungs = bench["networks"]["resnet20"]
        said = f"{_heading(bench)}: {rate(rungs[-1]):,.0f} images/s of ResNet-20 in {precision(bench)}, "
        said += f"{gain(rungs[-1], rungs[0]):.2f} times as many as the usual script"
        fp32 = tried(FP32, bench)
        said += f"; {rate(fp32):,.0f} in fp32, the default, with all else the same" if fp32 else ""
        parts.append(folded(said, _ladders(bench)))
    return "\n\n".join([*parts, *_not_measured(benches)])


def to_markdown(benches: dict[str, dict[str, Any]]) -> str:
    """A page of all that was measured, by name, which stands in `reports/bench/`."""
    parts = [
        "# Measured machines",
        "Made by `resnet-lab figures` from the measurements beside this page, the last first; earlier ones may predate "
        "faster code. What the pipelines are: “Speed” in the [README](../../README.md).",
        bench_facts.HOW_TO_READ,
    ]
    for name, bench in benches.items():
        parts += [f"## {_heading(bench)}", f"![Images/s of each pipeline]({FIGURES.format(name)})", _one_machine(bench)]
        if "sweep" in bench:
            parts += [SWEEP, markdown(sweep(bench["sweep"]))]
    return "\n\n".join([*parts, *_not_measured(benches.values())]) + "\n"


def _ladders(bench: dict[str, Any]) -> str:
    first, *others = step_by_step(bench)
    parts = [markdown(ladder(bench, first))]
    for model in others:
        repeats = len(rates(bench["networks"][model][0]))
        parts += [f"The same with {Architecture(model).title}, in {repeats} repeats:", markdown(ladder(bench, model))]
    return "\n\n".join(parts)


def _not_measured(benches: Iterable[dict[str, Any]]) -> list[str]:
    measured = any(bench["environment"]["device"] == "cuda" for bench in benches)
    return [] if measured else ["**NVIDIA GPU**: not measured."]


def _heading(bench: dict[str, Any]) -> str:
    return f"{machine(bench['environment'])}, on {bench['date'][:10]}"


def _one_machine(bench: dict[str, Any]) -> str:
    """Its tables and facts, and how soon the fast recipe came to the paper's ResNet-20 there, if it was run."""
    parts = [_ladders(bench), markdown(networks(bench))]
    parts += ["\n".join(f"- {fact}" for fact in bench_facts.facts(bench))]
    runs = [record for record in find_seeds(paper_runs.FAST, "full") if len(record.seconds_by_device) == 1]
    runs = [record for record in runs if same_machine(record.result["environment"], bench["environment"])]
    if runs:
        parts += [FAST_TIMES, markdown(time_to_accuracy(bench, runs, RESNET_20))]
    return "\n\n".join(parts)


def sweep(found: dict[str, dict[str, float]]) -> pd.DataFrame:
    """One row per setting that was varied, with the rate at each of its values."""
    rows = [
        {"varied": name, "images/s": ", ".join(f"{value}: {rate:,.0f}" for value, rate in row.items())}
        for name, row in found.items()
    ]
    return pd.DataFrame(rows)
