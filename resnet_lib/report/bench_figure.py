"""The benchmark as a picture: what each improvement over the usual script is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_lib.architecture import Architecture
from resnet_lib.report.bench_tables import title
from resnet_lib.report.canvas import INTERVAL, colour, new_panels, on_paper
from resnet_lib.report.tables import machine
from resnet_lib.speed.measured import Measured, gain, rate, rates, step_by_step


@on_paper
def draw(bench: dict[str, Any]) -> Figure:
    """Images/s of each pipeline of a benchmark, from the conventional one to ours: medians, with their range.

    One panel for each network of which every pipeline was measured.
    """
    networks = {Architecture(model).title: bench["networks"][model] for model in step_by_step(bench)}
    heights = [0.9 + 0.36 * len(rungs) for rungs in networks.values()]
    figure, panels = new_panels(0.5 + sum(heights), len(networks), heights)
    for axes, (network, rungs) in zip(panels, networks.items(), strict=True):
        _one(axes, rungs)
        axes.set_title(f"{network}, batch {bench['batch_size']}, {len(rates(rungs[0]))} repeats", loc="left")
    panels[-1].set_xlabel("Training images per second")
    how = "medians and ranges of the repeats; ×: median of the ratios within each repeat"
    figure.suptitle(f"{machine(bench['environment'])}\n{how}", fontsize="medium", x=0.01, ha="left")
    return figure


def _one(axes: Axes, rungs: list[Measured]) -> None:
    medians, places = np.array([rate(rung) for rung in rungs]), np.arange(len(rungs))
    spans = np.abs([[rates(rung).min(), rates(rung).max()] for rung in rungs] - medians[:, None]).T
    axes.barh(places, medians, color=colour(0), height=0.6)
    axes.errorbar(medians, places, xerr=spans, fmt="none", **INTERVAL)
    for place, rung in zip(places, rungs, strict=True):
        text = f"{rate(rung):,.0f}  (×{gain(rung, rungs[0]):.2f})"
        axes.annotate(text, (rates(rung).max(), place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, map(title, rungs))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.35 * (medians + spans[1]).max())
    axes.xaxis.set_major_formatter("{x:,.0f}")
