"""The paper's Figure 6 from our records: error against iterations, plain nets beside residual ones."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resnet_lib.architecture import Architecture
from resnet_lib.findings.curves import mean_curve
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.record import Record, Runs
from resnet_lib.report.plots import GREY, MARKERS, WIDTH, colour, on_paper, put_stamp

TOP = 20  # % error: where the paper cuts its axis, too
DASHED = {"linestyle": "--", "linewidth": 0.9, "alpha": 0.8}
PANELS = {"plain": "Plain nets", "resnet": "Residual nets"}


@on_paper
def draw(runs: Runs, profile: str) -> Figure | None:
    """Test error as a solid line, training error as a thin dashed one; mean over seeds. None if nothing is recorded."""
    if not any(runs.values()):
        return None
    figure, panels = plt.subplots(1, len(PANELS), figsize=(WIDTH, 3.2), layout="constrained", sharey=True)
    plt.close(figure)
    for axes, (family, title) in zip(panels, PANELS.items(), strict=True):
        shown = {label: records for label, records in runs.items() if _family(records) == family}
        for index, (label, records) in enumerate(shown.items()):
            _lines(axes, index, label, records)
        if shown:
            axes.legend(frameon=False, fontsize="small")
        else:
            axes.text(0.5, 0.5, NOT_YET, transform=axes.transAxes, ha="center", va="center", color=GREY)
            axes.tick_params(bottom=False, labelbottom=False)
        axes.set_title(title, loc="left")
        axes.set_xlabel("Iterations")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        sns.despine(ax=axes)
    panels[0].set_ylabel("Error (%)")
    lowest = [_error(records, "accuracy").min() for records in runs.values() if records]
    panels[0].set_ylim(0, TOP if min(lowest) < TOP else 100)
    keys = [Line2D([], [], color=GREY, label="test"), Line2D([], [], color=GREY, label="training", **DASHED)]
    figure.legend(handles=keys, loc="outside lower center", ncols=2, frameon=False)
    put_stamp(figure, profile)
    return figure


def _lines(axes: Axes, index: int, label: str, records: list[Record]) -> None:
    steps = [row["step"] for row in records[0].history]
    marks = {"marker": MARKERS[index], "markersize": 4, "markevery": max(1, len(steps) // 8)}
    axes.plot(steps, _error(records, "accuracy"), color=colour(index), linewidth=1.4, label=label, **marks)
    axes.plot(steps, _error(records, "train_accuracy"), color=colour(index), **DASHED)


def _error(records: list[Record], accuracy: str) -> np.ndarray:
    """In % of the images, after each epoch; mean over seeds."""
    return 100 - 100 * mean_curve(records, accuracy)


def _family(records: list[Record]) -> str | None:
    return Architecture(records[0].config.model).family if records else None
