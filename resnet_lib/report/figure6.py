"""The paper's Figure 6 from our records: error against iterations, plain nets beside residual ones."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resnet_lib.findings.curves import mean_curve
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record
from resnet_lib.report.canvas import DROP, GREY, MARKERS, WIDTH, colour, on_paper, put_stamp

FIGURE = "06_figure6"  # its name in img/
TOP = 20  # % error: where the paper cuts its axis, too
CAPTION = (
    "Error of the paper's networks against iterations, on the test images (solid) and, measured during training, on "
    "the training images (dashed)."
)
DASHED = {"linestyle": "--", "linewidth": 0.9, "alpha": 0.8}
DOTTED = {"linestyle": ":", "linewidth": 1}
PANELS = {"plain": "Plain nets", "resnet": "Residual nets"}


@on_paper
def draw(runs: Runs, profile: str) -> Figure | None:
    """Test error as a solid line, training error as a thin dashed one, the paper's final test error as a dotted one.

    Means over seeds; families of networks that are not recorded are left out. None if nothing is recorded.
    """
    by_family: dict[str, Runs] = {family: {} for family in PANELS}
    for label, records in runs.items():
        if records:
            by_family[records[0].config.architecture.family][label] = records
    recorded = {family: found for family, found in by_family.items() if found}
    if not recorded:
        return None
    figure = Figure((WIDTH, 3.2), layout="constrained")
    panels = figure.subplots(1, len(recorded), sharey=True, squeeze=False)
    for axes, (family, found) in zip(panels[0], recorded.items(), strict=True):
        for index, (label, records) in enumerate(found.items()):
            _lines(axes, index, f"{label} (n = {len(records)})", records, profile)
        for step in {step for records in found.values() for step in records[0].config.milestone_steps}:
            axes.axvline(step, **DROP)
        axes.legend(frameon=False, fontsize="small")
        if len(recorded) > 1:
            axes.set_title(PANELS[family], loc="left")
        axes.set_xlabel("Iterations")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        sns.despine(ax=axes)
    panels[0][0].set_ylabel("Error (%)")
    lowest = [_error(records, "accuracy").min() for records in runs.values() if records]
    panels[0][0].set_ylim(0, TOP if min(lowest) < TOP else 100)
    panels[0][0].yaxis.set_major_locator(MaxNLocator(4))
    keys = [Line2D([], [], color=GREY, label="test"), Line2D([], [], color=GREY, label="training", **DASHED)]
    models = {records[0].config.model for found in recorded.values() for records in found.values()}
    if models & TABLE_6.keys() and profile != "smoke":
        mean = " (ResNet-110: mean of 5)" if "resnet110" in models else ""
        keys.append(Line2D([], [], color=GREY, label=f"the paper's final test error{mean}", **DOTTED))
    keys.append(Line2D([], [], label="learning-rate drop", **DROP))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False)
    put_stamp(figure, profile)
    return figure


def _lines(axes: Axes, index: int, label: str, records: list[Record], profile: str) -> None:
    steps = [row["step"] for row in records[0].history]
    marks = {"marker": MARKERS[index], "markersize": 4, "markevery": max(1, len(steps) // 8)}
    axes.plot(steps, _error(records, "accuracy"), color=colour(index), linewidth=1.4, label=label, **marks)
    axes.plot(steps, _error(records, "train_accuracy"), color=colour(index), **DASHED)
    if (published := TABLE_6.get(records[0].config.model)) and profile != "smoke":
        axes.axhline(published.mean or published.error, color=colour(index), **DOTTED)


def _error(records: list[Record], accuracy: str) -> np.ndarray:
    """In % of the images, after each epoch; mean over seeds."""
    return 100 - 100 * mean_curve(records, accuracy)
