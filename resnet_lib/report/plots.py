"""Records → figures, for screen and paper: told apart by colour and by line style, readable in grey print."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from resnet_lib.findings.curves import curve
from resnet_lib.questions import story
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record
from resnet_lib.report.canvas import COLOURS, DROP, GREY, MARKERS, colour, cycle, new_panels, on_paper, put_stamp

QUANTITIES = ("train_loss", "accuracy", "loss")  # columns of `findings.curves.curve`, from top to bottom
FIGURE = "curves"  # its name in img/
CAPTION = (
    "Training loss, measured while it trains, and accuracy and loss after each epoch on the test images (or on those "
    "held out for validation, as the axes say). Losses are mean cross-entropies. For several seeds: their mean and "
    "range."
)

STYLES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
WIDE = 94  # characters of two labels for which there is room side by side in a legend
FEW_EPOCHS = 15  # up to here every epoch has a marker, so that a run of one epoch shows
LOG_RANGE = 10  # losses that span more than this factor are drawn on a logarithmic scale
BAND = 0.25  # opacity of the range over seeds
ALL_LOOKS = len(STYLES) * len(COLOURS)  # 4 and 7 have no common divisor: a pair comes again after so many


@on_paper
def curves(runs: Runs, profile: str) -> Figure | None:
    """A panel for each quantity, in which each config has a line; None if nothing is recorded.

    It is the mean over seeds, with a band over their range. What the story tells of a run is marked where that ends.
    """
    recorded = {label: records for label, records in runs.items() if records}
    if not recorded:
        return None
    told = _told(recorded, profile)
    looks = looks_of(recorded, profile)
    drops = {epoch for records in recorded.values() for epoch in dropped_after(records[0])}
    handles = [_handle(looks[label], f"{label} (n = {len(records)})") for label, records in recorded.items()]
    if told:
        values = ", ".join(f"{value:g}" for value in sorted(set(told.values())))
        handles.append(Line2D([], [], color=GREY, linewidth=2, label=f"its end, as the story tells it: {values} %"))
    if drops:
        handles.append(Line2D([], [], label="learning-rate drop, where there is one", **DROP))
    if any(len(records) > 1 for records in recorded.values()):
        handles.append(Patch(color=GREY, alpha=BAND, linewidth=0, label="range over seeds"))
    figure, panels = new_panels(1.5 + 1.7 * len(QUANTITIES) + 0.16 * len(handles), len(QUANTITIES))
    for axes, quantity in zip(panels, QUANTITIES, strict=True):
        _panel(axes, recorded, quantity, looks)
        for epoch in sorted(drops):
            axes.axvline(epoch, **DROP)
        _epochs(axes, max(records[0].history[-1]["epoch"] for records in recorded.values()), bool(told))
        axes.tick_params(labelbottom=axes is panels[-1])
        if quantity == "accuracy":
            for label, value in told.items():
                _mark_told(axes, recorded[label][0].history[-1]["epoch"], value, looks[label])
    panels[-1].set_xlabel("Epoch")
    _legend(figure, handles)
    put_stamp(figure, profile)
    return figure


def settling(runs: Runs) -> str:
    """A sentence below held-out curves that begin too early for batch norm; empty where they do not.

    The running statistics move by a tenth at each step (torch's default), from mean 0 and variance 1.
    """
    steps = min((records[0].config.steps_per_epoch for records in runs.values() if records), default=math.inf)
    initial = 0.9**steps
    if initial < 0.01:
        return ""
    return (
        "The loss on the images held out begins too high, and the accuracy too low: batch norm's running statistics, "
        f"with which a network is evaluated, still hold {100 * initial:.0f} % of their initial values after the first "
        f"epoch's {steps} steps."
    )


# --- parts


def _panel(axes: Axes, recorded: Runs, quantity: str, looks: dict[str, int]) -> None:
    """The lines of one quantity, on a scale that shows all of them."""
    values = [np.array([curve(record, quantity) for record in records]) for records in recorded.values()]  # [seeds, E]
    for index, (label, table) in enumerate(zip(recorded, values, strict=True)):
        epochs = [row["epoch"] for row in recorded[label][0].history]
        _line(axes, index, looks[label], epochs, 100 * table if quantity == "accuracy" else table)
    scale = ""
    if quantity != "accuracy" and _span(values) > LOG_RANGE:
        _log_scale(axes)
        scale = ", log"  # no longer word fits beside a panel
    axes.set_ylabel(f"{_axis_label(recorded, quantity)[:-1]}{scale})")
    axes.margins(y=0.1)


def _epochs(axes: Axes, last: int, with_told: bool) -> None:
    """The axis of the epochs, with room for a mark at its end."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlim(0 if last > FEW_EPOCHS else 0.5, last + max(0.5, (0.01 + 0.03 * with_told) * last))


def looks_of(recorded: Runs, profile: str) -> dict[str, int]:
    """What colour, style and marker are taken by: that of a run of the story in every figure, or the next one free.

    A colour comes again when all are taken, and then in another style.
    """
    told = [config for _, config in story.TOLD]
    others = [config for step in story.STEPS for config in step.configs.values() if config not in told]
    known = [config.at(profile).fingerprint for config in told + others]
    looks: dict[str, int] = {}
    for label, records in recorded.items():
        fingerprint = records[0].config.fingerprint
        first = known.index(fingerprint) if fingerprint in known else 0
        order = [(first + further) % ALL_LOOKS for further in range(ALL_LOOKS)]
        colours = {look % len(COLOURS) for look in looks.values()}
        free = [look for look in order if look not in looks.values()]
        looks[label] = next((look for look in free if look % len(COLOURS) not in colours), (free or order)[0])
    return looks


def _style(look: int) -> dict[str, Any]:
    return {
        "color": colour(look), "linestyle": cycle(STYLES, look), "linewidth": 1.3,
        "marker": cycle(MARKERS, look), "markersize": 4,
    }  # fmt: skip


def _handle(look: int, label: str) -> Line2D:
    return Line2D([], [], label=label, **_style(look))


def _line(axes: Axes, index: int, look: int, epochs: list[int], table: np.ndarray) -> None:
    every = max(1, len(epochs) // 8) if len(epochs) > FEW_EPOCHS else 1
    apart = (2 * index % every, every)  # where lines meet
    # Where two are one, the later shows in the gaps of the first.
    axes.plot(epochs, table.mean(axis=0), zorder=3 - index / 100, markevery=apart, **_style(look))
    if len(table) > 1:
        axes.fill_between(epochs, table.min(axis=0), table.max(axis=0), color=colour(look), alpha=BAND, linewidth=0)


def dropped_after(record: Record) -> list[int]:
    """The last epoch before each drop."""
    return [before["epoch"] for before, after in pairwise(record.history) if after["drops"] > before["drops"]]


def _told(recorded: Runs, profile: str) -> dict[str, float]:
    """What the story tells (%) of the runs shown, by label; of those of a small profile it tells nothing."""
    told: dict[str, float] = {}
    for step in story.STEPS if profile == "full" else ():
        names = {name: label for label in step.told for name in (label, step.label(label))}
        for name, records in recorded.items():
            if name in names and step.tells_of(names[name], records[0].config, profile):
                told[name] = step.claimed
    return told


def _mark_told(axes: Axes, last: int, value: float, look: int) -> None:
    """A dash in a line's colour, just behind its end: where the story says that it should have ended."""
    left, right = axes.get_xlim()
    axes.hlines(value, last + 0.008 * (right - left), last + 0.03 * (right - left), color=colour(look), linewidth=2)


def _span(values: list[np.ndarray]) -> float:
    lowest = min(table.min() for table in values)
    return max(table.max() for table in values) / lowest if lowest > 0 else 1.0


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = (1, 1.5, 2, 3, 4, 6, 8) if high < 20 * low else (1, 2, 5) if high < 1_000 * low else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _axis_label(recorded: Runs, quantity: str) -> str:
    if quantity == "train_loss":
        return "Training loss (nats)"
    names = {record.config.held_out for records in recorded.values() for record in records}
    where = {"test": "Test", "val": "Validation"}[names.pop()] if len(names) == 1 else "Held-out"
    return f"{where} accuracy (%)" if quantity == "accuracy" else f"{where} loss (nats)"


def _legend(figure: Figure, handles: list[Any]) -> None:
    widths, half = [len(handle.get_label()) for handle in handles], math.ceil(len(handles) / 2)
    columns = 2 if max(widths[:half]) + max(widths[half:], default=0) < WIDE else 1
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.2)
