"""The answer in a picture: the story's ResNet-20 by epoch, and what changes of it do."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_lib.findings.changes import runs
from resnet_lib.findings.curves import SETTLED, curve, epochs_before_the_drop, one_until_the_drop
from resnet_lib.questions import story
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.suspects import ASSUMED, CIFAR_STEP, NO_DROP
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record
from resnet_lib.report.canvas import CLEAR, DROP, GREY, NEAR, colour, new_figure, on_paper, put_stamp
from resnet_lib.report.plots import BAND, dropped_after, looks_of

FIGURE = "answer"  # its name in img/
CAPTION = "Test accuracy of ResNet-20 by epoch, with the assumed settings and with changes"
APART = 1 / 22  # of the height: two texts at the right, at least


def caption(profile: str) -> str:
    """What the figure shows, and where two of its curves are one."""
    found = runs(profile)
    if not found:
        return f"{CAPTION}."
    said = f"{CAPTION}: the mean over n runs and, from the first learning-rate (LR) drop on, their range."
    if profile == "full":
        said += f" Grey band: “near”, within {100 * story.NEAR:g} points of the story's {CIFAR_STEP.claimed:g} %."
    return said + _fork_in_words(found)


@on_paper
def draw(profile: str) -> Figure | None:
    """The curves from where they begin to level off, with the accuracy that each ends at; None without any.

    That of a single run without drops begins where it parts from the one of its seed that has them.
    """
    found = runs(profile)
    if not found:
        return None
    forked = _forked(found)
    figure, axes = new_figure(3.5)
    tables = {label: 100 * np.array([curve(one, "accuracy") for one in records]) for label, records in found.items()}
    colours = {label: colour(look) for label, look in looks_of(found, profile).items()}
    drops = sorted({epoch for records in found.values() for epoch in dropped_after(records[0])})
    for label, table in tables.items():  # [seeds, epochs]
        begin = epochs_before_the_drop(forked[0]) - 1 if forked and label == NO_DROP and len(table) == 1 else 0
        epochs, mean = np.arange(1, table.shape[1] + 1), table.mean(axis=0)
        axes.plot(epochs[begin:], mean[begin:], color=colours[label], linewidth=1.5)
        if begin:
            axes.plot(epochs[begin], mean[begin], "o", color=colours[label], markersize=4)
        settled = slice(drops[0] if drops else 0, None)  # before, bands of several colours hide each other
        spread = table.min(axis=0)[settled], table.max(axis=0)[settled]
        axes.fill_between(epochs[settled], *spread, color=colours[label], alpha=BAND, linewidth=0)
    for epoch in drops:
        axes.axvline(epoch, **DROP)
        axes.annotate(
            "LR ÷ 10", (epoch, 0), xycoords=("data", "axes fraction"), xytext=(3, 4), textcoords="offset points",
            color=GREY, fontsize="small", bbox=CLEAR,
        )  # fmt: skip
    means = {label: table.mean(axis=0) for label, table in tables.items()}
    axes.set_ylim(
        min(seen[len(seen) // 10 :].min() for seen in means.values()) - 3, max(map(np.max, tables.values())) + 2
    )
    axes.set_xlim(0, max(map(len, means.values())))
    if profile == "full":  # others end where neither would be in sight
        _references(axes)
    _name(axes, tables, colours)
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Test accuracy (%)")
    put_stamp(figure, profile)
    return figure


def _references(axes: Axes) -> None:
    """What the story and the paper tell, and what counts as near the story's."""
    axes.axhspan(*(100 * edge for edge in CIFAR_STEP.near), **NEAR)
    for value, name in {CIFAR_STEP.claimed: "the story", RESNET_20: "the paper"}.items():
        axes.axhline(value, color=GREY, linestyle=":", linewidth=1, zorder=0)
        axes.annotate(
            f"{name}: {value:g} %", (0, value), xytext=(4, 3), textcoords="offset points", color=GREY, fontsize="small",
            bbox=CLEAR,
        )  # fmt: skip


def _name(axes: Axes, tables: dict[str, np.ndarray], colours: dict[str, Any]) -> None:
    """Each curve beside its end, with the accuracy there, the texts moved apart where they would meet."""
    low, high = axes.get_ylim()
    place = -np.inf
    ends = {label: table.mean(axis=0)[-1] for label, table in tables.items()}
    for label in sorted(ends, key=ends.__getitem__):
        place = max(place + APART * (high - low), ends[label])
        axes.annotate(
            f"{ends[label]:.1f}  {label} (n = {len(tables[label])})", (axes.get_xlim()[1], place), xytext=(6, 0),
            textcoords="offset points", va="center", color=colours[label], fontsize="small", annotation_clip=False,
        )  # fmt: skip


def _forked(found: Runs) -> tuple[Record, Record] | None:
    """A run with drops and one without that were one until the first of these."""
    return next(iter(one_until_the_drop(found.get(ASSUMED, []), found.get(NO_DROP, []))), None)


def _fork_in_words(found: Runs) -> str:
    """A sentence, after a space, on runs that were one until the rate of one of them dropped; empty if none was."""
    if not (forked := _forked(found)):
        return ""
    shared = epochs_before_the_drop(forked[0])
    ends = [curve(record, "accuracy")[shared : shared + SETTLED] for record in forked]
    with_drop, without = (100 * seen.mean() for seen in ends)
    then = "One epoch later" if len(ends[0]) == 1 else f"Mean of its next {len(ends[0])} epochs"
    return (
        f" The curve without drops begins at the dot: until epoch {shared} it is seed {forked[0].config.seed} of the "
        f"assumed settings. {then}: {with_drop:.1f} % with the drop, {without:.1f} % without (a run each)."
    )
