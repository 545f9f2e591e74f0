"""What changes of the training are worth: each alone, and each on the way from the assumed settings to the paper's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_lib.findings import comparison, evidence, single_changes
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.judgement import mean_accuracy
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import story, suspects
from resnet_lib.questions.causes import PAPER
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.records.find import Runs, find_runs
from resnet_lib.report.canvas import CLEAR, GREY, INTERVAL, NEAR, colour, new_figure, new_panels, on_paper, put_stamp

WAYS_FIGURE = "05_waterfalls"  # its name in img/
WAYS = (
    "From the assumed settings to the paper's on ResNet-20. Bars: the share of each choice, averaged over all orders "
    "in which the choices can be changed (its Shapley value), blue where it adds and orange where it takes away; the "
    "line at a bar's end is the 95 % interval of its length, and those of a panel hold jointly. Diamonds and circles: "
    "accuracies measured, at both ends and with this choice alone changed from the start, each with its 95 % interval. "
    "Shares differ from these single changes: what a choice is worth depends on the others."
)
NO_SPREAD = "(how seeds differ is not known, and not in the intervals)"
CHANGES_FIGURE = "05_changes"
CHANGES = (
    "ResNet-20 with the assumed settings (diamonds), and with one setting changed. One mark per run; grey "
    "lines: from the mean of the assumed settings to that with the change; black bars: the 95 % interval of a mean, "
    f"where it is known how seeds differ (below {MIN_SEEDS} runs: as in similar settings). On the right the mean, and "
    "the number of runs."
)
FROM_THE_STORY = {"color": "0.7", "linewidth": 1, "zorder": 0}


@on_paper
def waterfalls(ways: Iterable[Cells]) -> Figure | None:
    """A panel for each way, in steps from its start to the paper's settings, all on one scale, as WAYS says.

    Without those of which a cell is not recorded; None if that leaves none.
    """
    whole = [cells for cells in ways if cells.have(cells.way)]
    if not whole:
        return None
    heights = [0.9 + 0.46 * (len(cells.shares) + 2) for cells in whole]
    figure, panels = new_panels(0.5 + sum(heights), len(whole), heights)
    for axes, cells in zip(panels, whole, strict=True):
        _way(axes, cells)
        axes.sharex(panels[0])
        name = f"{cells.epochs} epochs, from {cells.start_name}"
        axes.set_title(name if cells.seeds_are_known else f"{name}\n{NO_SPREAD}", loc="left")
    panels[0].margins(x=0.2)
    panels[-1].set_xlabel("Test accuracy (%) of ResNet-20")
    put_stamp(figure, whole[0].profile)
    return figure


def _way(axes: Axes, cells: Cells) -> None:
    shares = evidence.shares(cells)
    start, end = (comparison.accuracy_of(cells.records[levels], cells.profile) for levels in (cells.start, PAPER))
    _accuracy(axes, 0, start, "D", "")
    level = 100 * start.mean
    for place, share in enumerate(shares, 1):
        mean, low, high = (100 * value for value in (share.estimate.mean, share.estimate.low, share.estimate.high))
        axes.plot([level] * 2, [place - 1, place], **FROM_THE_STORY)
        axes.barh(place, mean, left=level, height=0.5, color=colour(0 if mean > 0 else 1))
        _beside(axes, max(level, level + high), place, f"{mean:+.1f} points")
        level += mean
        axes.errorbar(level, place, xerr=[[mean - low], [high - mean]], fmt="none", **INTERVAL)
        alone = comparison.accuracy_of(cells.records[cells.alone[share.factor]], cells.profile)
        _accuracy(axes, place + 0.42, alone, "o", "this alone: ")
    axes.plot([level] * 2, [len(shares), len(shares) + 1], **FROM_THE_STORY)
    _accuracy(axes, len(shares) + 1, end, "D", "")
    names = ["the start", *(f"{share.name}\n{share.change}" for share in shares), "the paper's settings"]
    axes.set_yticks(np.arange(len(names)), names)
    axes.invert_yaxis()


def recorded_changes(profile: str) -> Runs:
    """The runs of the story's ResNet-20 and of each single change of it; empty without any to set beside it."""
    found = find_runs(single_changes.distinct(suspects.one_at_a_time(), profile), profile)
    recorded = {name: records for name, records in found.items() if records}
    return recorded if suspects.ASSUMED in recorded and len(recorded) > 1 else {}


def changes_caption(profile: str) -> str:
    """What the figure of `changes` shows."""
    if profile != "full":
        return CHANGES
    return f"{CHANGES} Grey band: within {100 * story.NEAR:g} points of the story's {suspects.CIFAR_STEP.claimed:g} %."


@on_paper
def changes(profile: str) -> Figure | None:
    """The story's ResNet-20 and each single change of it, the most accurate first, a dot per run; None without any.

    Beside them what the story tells, and the paper's.
    """
    recorded = recorded_changes(profile)
    if not recorded:
        return None
    means = {name: 100 * mean_accuracy(records) for name, records in recorded.items()}
    names = sorted(means, key=lambda name: -means[name])
    figure, axes = new_figure(1.2 + 0.34 * len(names))
    for place, name in enumerate(names):
        reached = [100 * record.accuracy for record in recorded[name]]
        axes.plot([means[suspects.ASSUMED], means[name]], [place] * 2, **FROM_THE_STORY)
        estimate = comparison.accuracy_of(recorded[name], profile)
        if estimate.seed_sd is not None:
            axes.plot([100 * estimate.low, 100 * estimate.high], [place] * 2, "|-", color="black", linewidth=1)
        marker = "D" if name == suspects.ASSUMED else "o"
        axes.plot(reached, [place] * len(reached), marker, color=colour(0), markersize=6, markeredgecolor="white")
        axes.annotate(
            f"{means[name]:.1f} % (n = {len(reached)})", (1, place), xycoords=("axes fraction", "data"),
            xytext=(6, 0), textcoords="offset points", va="center", fontsize="small",
        )  # fmt: skip
    axes.axvline(means[suspects.ASSUMED], **FROM_THE_STORY)
    told = {suspects.CIFAR_STEP.claimed: "story", RESNET_20: "paper"} if profile == "full" else {}
    if told:
        axes.axvspan(*(100 * edge for edge in suspects.CIFAR_STEP.near), **NEAR)
    for value, text in told.items():
        axes.axvline(value, color=GREY, linestyle=":", linewidth=1, zorder=0)
        axes.annotate(
            f"{text}: {value:g} %", (value, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="right" if value == min(told) else "left", color=GREY, fontsize="small",
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.06, y=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Test accuracy (%) after the last epoch")
    put_stamp(figure, profile)
    return figure


def _accuracy(axes: Axes, place: float, found: Estimate, marker: str, said: str) -> None:
    """One that was measured, with its interval."""
    mean, low, high = (100 * value for value in (found.mean, found.low, found.high))
    axes.errorbar(
        mean, place, xerr=[[mean - low], [high - mean]], fmt=marker, color=GREY, markerfacecolor="white",
        markeredgecolor="black", markersize=5, **INTERVAL,
    )  # fmt: skip
    _beside(axes, high, place, f"{said}{mean:.1f} % (n = {found.seeds})")


def _beside(axes: Axes, edge: float, place: float, text: str) -> None:
    offset = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(text, (edge, place), fontsize="small", bbox=CLEAR, zorder=4, **offset)
