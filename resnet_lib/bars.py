"""Bars: what each improvement of the benchmark is worth, and each factor on the way from the story to the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from resnet_lib import evidence
from resnet_lib.causes import PAPER, STORY
from resnet_lib.evidence import Cells
from resnet_lib.plots import GREY, colour, new_figure, on_paper, put_stamp
from resnet_lib.story import NOT_YET


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
    machine = bench["environment"]
    axes.set(xlabel="Training images per second (ResNet-20, batch 128)", xlim=(0, 1.3 * max(map(np.max, rates))))
    axes.set_title(f"{machine['device_name']}, {machine['threads']} threads", loc="left")
    return figure


@on_paper
def waterfall(cells: Cells, profile: str) -> Figure:
    """From the story's settings to the paper's, a step a factor, each with its interval."""
    if not cells.is_complete:
        figure, axes = new_figure(1.0)
        axes.text(0.5, 0.5, NOT_YET, ha="center", va="center", color=GREY, transform=axes.transAxes)
        axes.set_axis_off()
        return figure
    start, shares, end = evidence.at(STORY, cells), evidence.shares(cells), evidence.at(PAPER, cells)
    figure, axes = new_figure(1.3 + 0.42 * (len(shares) + 2))
    names = ["the story's settings", *(f"{share.name}\n{share.change}" for share in shares), "the paper's settings"]
    level = 100 * start.mean
    bars = [(0.0, level, start)]
    for share in shares:
        bars.append((level, 100 * share.estimate.mean, share.estimate))
        level += 100 * share.estimate.mean
    bars.append((0.0, 100 * end.mean, end))
    edges: list[float] = []
    for place, (left, width, estimate) in enumerate(bars):
        is_total = place in (0, len(bars) - 1)
        axes.barh(place, width, left=left, height=0.6, color=GREY if is_total else colour(0 if width > 0 else 1))
        low, high = (100 * value + (0 if is_total else left) for value in (estimate.low, estimate.high))
        axes.errorbar(
            left + width, place, xerr=[[left + width - low], [high - left - width]], fmt="none", ecolor="black",
            elinewidth=1, capsize=2,
        )  # fmt: skip
        edges += [left + width, low, high]
        text = f"{width:.1f} %" if is_total else f"{width:+.1f}"
        axes.annotate(
            text, (max(left, left + width, high), place), xytext=(6, 0), textcoords="offset points", va="center"
        )
    room = max(2.0, 0.2 * (max(edges) - min(edges)))  # for the numbers, and so that a bar from zero is seen to be cut
    axes.set_yticks(np.arange(len(bars)), names)
    axes.invert_yaxis()
    axes.set(xlabel="Test accuracy (%), by the model of the factorial", xlim=(min(edges) - room, max(edges) + room))
    put_stamp(figure, profile)
    return figure
