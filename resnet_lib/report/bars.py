"""Bars: what each improvement of the benchmark is worth, and each factor on the way from the story to the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from resnet_lib.findings import evidence
from resnet_lib.findings.evidence import Cells
from resnet_lib.questions.causes import PAPER
from resnet_lib.questions.story import NOT_YET
from resnet_lib.report.plots import GREY, colour, new_figure, on_paper, put_stamp
from resnet_lib.report.tables import machine


@on_paper
def ladder(bench: dict[str, Any]) -> Figure:
    """Images/s of each pipeline of a benchmark, from the conventional one to ours: medians, with their range."""
    rungs = bench["networks"]["resnet20"]
    rates = [np.array(rung["images_per_second"]) for rung in rungs]
    medians = np.array([np.median(one) for one in rates])
    figure, axes = new_figure(0.9 + 0.36 * len(rungs))
    places = np.arange(len(rungs))
    spans = np.abs([[one.min(), one.max()] for one in rates] - medians[:, None]).T
    axes.barh(places, medians, color=colour(0), height=0.6)
    axes.errorbar(medians, places, xerr=spans, fmt="none", ecolor=GREY, elinewidth=1, capsize=2)
    for place, one, median in zip(places, rates, medians, strict=True):
        text = f"{median:,.0f}  (×{median / medians[0]:.2f})"
        axes.annotate(text, (one.max(), place), xytext=(6, 0), textcoords="offset points", va="center")
    names = [("" if rung["name"] in ("conventional", "ours") else "+ ") + rung["name"] for rung in rungs]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set(xlabel="Training images per second (ResNet-20, batch 128)", xlim=(0, 1.3 * max(map(np.max, rates))))
    title = f"{machine(bench['environment'])}; median and range of {len(rates[0])} repeats"
    axes.set_title(title, loc="left")
    return figure


@on_paper
def waterfall(cells: Cells, profile: str) -> Figure:
    """From the story's settings to the paper's, one step per factor, each with its interval."""
    if not cells.have(cells.way):
        figure, axes = new_figure(1.0)
        axes.text(0.5, 0.5, NOT_YET, ha="center", va="center", color=GREY, transform=axes.transAxes)
        axes.set_axis_off()
        return figure
    shares = evidence.shares(cells)
    figure, axes = new_figure(1.3 + 0.42 * (len(shares) + 2))
    names = ["the story's settings", *(f"{share.name}\n{share.change}" for share in shares), "the paper's settings"]
    level = 0.0
    for place, found in enumerate(
        [evidence.accuracy_in(cells.start, cells), *(s.estimate for s in shares), evidence.accuracy_in(PAPER, cells)]
    ):
        mean, low, high = (100 * value for value in (found.mean, found.low, found.high))
        is_end = place in (0, len(shares) + 1)
        left = 0.0 if is_end else level
        level = left + mean
        if not is_end:
            axes.barh(place, mean, left=left, height=0.6, color=colour(0 if mean > 0 else 1))
        axes.errorbar(
            level, place, xerr=[[mean - low], [high - mean]], fmt="D" if is_end else "none", color=GREY, ecolor="black",
            markersize=5, elinewidth=1, capsize=2,
        )  # fmt: skip
        text = f"{mean:.1f} %" if is_end else f"{mean:+.1f}"
        edge = max(left + high, left) if not is_end else high
        axes.annotate(text, (edge, place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_yticks(np.arange(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(f"Test accuracy (%) of ResNet-20 after {cells.records[PAPER][0].config.epochs} epochs")
    put_stamp(figure, profile)
    return figure
