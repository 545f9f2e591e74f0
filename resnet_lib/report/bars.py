"""Bars: what each improvement of the benchmark is worth, and each factor on the way from the story to the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_lib.architecture import Architecture
from resnet_lib.findings import evidence, single_changes
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.stats import Estimate
from resnet_lib.questions import suspects
from resnet_lib.questions.causes import PAPER
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.records.find import find_runs
from resnet_lib.report.bench_tables import title
from resnet_lib.report.canvas import GREY, colour, new_figure, new_panels, on_paper, put_stamp
from resnet_lib.report.tables import machine
from resnet_lib.speed.measured import Measured, gain, rate, rates, step_by_step


@on_paper
def ladder(bench: dict[str, Any]) -> Figure:
    """Images/s of each pipeline of a benchmark, from the conventional one to ours: medians, with their range.

    One panel for each network of which every pipeline was measured.
    """
    models = step_by_step(bench)
    rungs = sum(len(bench["networks"][model]) for model in models)
    figure, panels = new_panels(0.5 + len(models) + 0.36 * rungs, len(models))
    for axes, model in zip(panels, models, strict=True):
        _ladder_of_one(axes, bench["networks"][model], Architecture(model).title)
    how = "medians and ranges of the repeats; ×: median of the ratios within each repeat"
    figure.suptitle(f"{machine(bench['environment'])}\n{how}", fontsize="medium", x=0.01, ha="left")
    return figure


def _ladder_of_one(axes: Axes, rungs: list[Measured], network: str) -> None:
    medians, places = np.array([rate(rung) for rung in rungs]), np.arange(len(rungs))
    spans = np.abs([[rates(rung).min(), rates(rung).max()] for rung in rungs] - medians[:, None]).T
    axes.barh(places, medians, color=colour(0), height=0.6)
    axes.errorbar(medians, places, xerr=spans, fmt="none", **BARS)
    for place, rung in zip(places, rungs, strict=True):
        text = f"{rate(rung):,.0f}  (×{gain(rung, rungs[0]):.2f})"
        axes.annotate(text, (rates(rung).max(), place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, map(title, rungs))
    axes.invert_yaxis()
    of = f"{network}, batch 128, {len(rates(rungs[0]))} repeats"
    axes.set(xlabel=f"Training images per second ({of})", xlim=(0, 1.35 * (medians + spans[1]).max()))
    axes.xaxis.set_major_formatter("{x:,.0f}")


BARS = {"ecolor": "black", "elinewidth": 1, "capsize": 2}
HOW_TO_READ = (
    "Bars: the share of each choice, averaged over all orders in which the choices can be changed (its Shapley value), "
    "blue where it adds and orange where it takes away; the line at a bar's end is the 95 % interval of its length. "
    "These intervals hold together. Diamonds and circles: accuracies measured, at both ends and where this choice "
    "alone was changed, each with its 95 % interval. Shares differ from that: what a choice is worth depends on the "
    "others."
)


FROM_THE_STORY = {"color": "0.7", "linewidth": 1, "zorder": 0}
CHANGES_FIGURE = "05_changes"  # its name in img/
CHANGES = (
    "The story's ResNet-20 as the lab assumes it, and with one setting changed. A mark for each run; a line from the "
    "mean of the story's settings to that with the change. Diamonds and the upright line: the story's settings."
)
NO_SPREAD = (
    "How much seeds differ is not known here: these intervals are over the test images alone, and nothing is decided."
)


def caption(cells: Cells) -> str:
    """What a waterfall shows, and whether the spread of seeds is in its intervals."""
    said = f"From {cells.start_name} to the paper's on ResNet-20 in {cells.epochs} epochs."
    return said if cells.seeds_are_known else f"{said} {NO_SPREAD}"


@on_paper
def waterfall(cells: Cells) -> Figure | None:
    """From the start to the paper's settings, one step per factor, each with its interval, as HOW_TO_READ says.

    None before every cell on the way is recorded.
    """
    if not cells.have(cells.way):
        return None
    shares = evidence.shares(cells)
    figure, axes = new_figure(1.3 + 0.5 * (len(shares) + 2))
    start, end = (evidence.accuracy_in(levels, cells) for levels in (cells.start, PAPER))
    _accuracy(axes, 0, start, "D", "")
    level = start.mean
    for place, share in enumerate(shares, 1):
        mean, low, high = (100 * value for value in (share.estimate.mean, share.estimate.low, share.estimate.high))
        left, level = 100 * level, level + share.estimate.mean
        axes.barh(place, mean, left=left, height=0.5, color=colour(0 if mean > 0 else 1))
        axes.errorbar(left + mean, place, xerr=[[mean - low], [high - mean]], fmt="none", **BARS)
        _beside(axes, max(left, left + high), place, f"{mean:+.1f} points")
        _accuracy(axes, place + 0.42, evidence.accuracy_in(cells.alone[share.factor], cells), "o", ", with this alone")
    _accuracy(axes, len(shares) + 1, end, "D", "")
    first = cells.start_name.replace(" with ", "\nwith ")
    names = [first, *(f"{share.name}\n{share.change}" for share in shares), "the paper's settings"]
    axes.set_yticks(np.arange(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(f"Test accuracy (%) of ResNet-20 after {cells.epochs} epochs")
    put_stamp(figure, cells.profile)
    return figure


def accuracies_of_changes(profile: str) -> dict[str, list[float]]:
    """Accuracies in % of the story's ResNet-20 and of each single change of it; empty without any to set beside it."""
    found = find_runs(single_changes.distinct(suspects.one_at_a_time(), profile), profile)
    recorded = {name: [100 * record.accuracy for record in records] for name, records in found.items() if records}
    return recorded if suspects.STORY in recorded and len(recorded) > 1 else {}


@on_paper
def changes(profile: str) -> Figure | None:
    """The story's ResNet-20 and each single change of it, the most accurate first, a dot per run; None without any.

    Beside them what the story tells, and the paper's.
    """
    recorded = accuracies_of_changes(profile)
    if not recorded:
        return None
    means = {name: float(np.mean(reached)) for name, reached in recorded.items()}
    names = sorted(means, key=lambda name: -means[name])
    figure, axes = new_figure(1.2 + 0.34 * len(names))
    for place, name in enumerate(names):
        reached = recorded[name]
        axes.plot([means[suspects.STORY], means[name]], [place] * 2, **FROM_THE_STORY)
        marker = "D" if name == suspects.STORY else "o"
        axes.plot(reached, [place] * len(reached), marker, color=colour(0), markersize=6, alpha=0.7)
        axes.annotate(
            f"{means[name]:.1f} % (n = {len(reached)})", (1, place), xycoords=("axes fraction", "data"),
            xytext=(6, 0), textcoords="offset points", va="center", fontsize="small",
        )  # fmt: skip
    axes.axvline(means[suspects.STORY], **FROM_THE_STORY)
    told = {suspects.CIFAR_STEP.claimed: "story", RESNET_20: "paper"} if profile != "smoke" else {}
    for value, text in told.items():
        axes.axvline(value, color=GREY, linestyle=":", linewidth=1, zorder=0)
        axes.annotate(
            f"{text}: {value:g} %", (value, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", color=GREY, fontsize="small",
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.15)
    axes.set_xlabel("Test accuracy (%) after the last epoch")
    put_stamp(figure, profile)
    return figure


def _accuracy(axes: Axes, place: float, found: Estimate, marker: str, said: str) -> None:
    """One that was measured, with its interval."""
    mean, low, high = (100 * value for value in (found.mean, found.low, found.high))
    axes.errorbar(
        mean, place, xerr=[[mean - low], [high - mean]], fmt=marker, color=GREY, markerfacecolor="white",
        markeredgecolor="black", markersize=5, **BARS,
    )  # fmt: skip
    _beside(axes, high, place, f"{mean:.1f} %{said} (n = {found.seeds})")


def _beside(axes: Axes, edge: float, place: float, text: str) -> None:
    axes.annotate(text, (edge, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize="small")
