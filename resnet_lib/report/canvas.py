"""What all figures share: their size, their looks on paper, the stamp of a small profile, how they are saved."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_lib.machine.files import write_atomic
from resnet_lib.questions.story import stamp

P = ParamSpec("P")
F = TypeVar("F")

WIDTH = 7.2  # inches: the text width of a page
COLOURS = (0, 1, 2, 3, 4, 5, 9)  # of seaborn's colour-blind palette: pink and yellow are too pale, grey is the story's
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
GREY = "0.35"
CLEAR = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 0}  # behind a text, which lines may cross
INTERVAL = {"ecolor": "black", "elinewidth": 1, "capsize": 2}
DROP = {"color": "0.8", "linewidth": 1, "zorder": 0}
NEAR = {"color": "0.95", "linewidth": 0, "zorder": -1}  # the band of what counts as near the story's accuracy
SIGNED = {"png": ("Software",), "pdf": ("Creator", "Producer", "CreationDate")}  # what matplotlib would add to a file


def on_paper(draw: Callable[P, F]) -> Callable[P, F]:
    """Draw with seaborn's sizes for paper, leaving the reader's own settings as they were."""

    @wraps(draw)
    def styled(*arguments: P.args, **options: P.kwargs) -> F:
        with sns.axes_style("ticks"), sns.plotting_context("paper"):
            return draw(*arguments, **options)

    return styled


def new_figure(height: float) -> tuple[Figure, Axes]:
    figure, (axes,) = new_panels(height, 1)
    return figure, axes


def new_panels(height: float, count: int, heights: list[float] | None = None) -> tuple[Figure, list[Axes]]:
    """One below the other, `heights` as they are to each other; alike if left out."""
    figure = Figure((WIDTH, height), layout="constrained")  # not pyplot's, which would ask for a screen, and keep it
    panels = list(figure.subplots(count, squeeze=False, height_ratios=heights)[:, 0])
    sns.despine(figure)
    return figure, panels


def put_stamp(figure: Figure, profile: str) -> None:
    if stamp(profile):
        figure.suptitle(stamp(profile), fontsize="medium", color="firebrick", x=0.01, ha="left")


def colour(index: int) -> tuple[float, float, float]:
    return cycle([sns.color_palette("colorblind")[i] for i in COLOURS], index)


def cycle(options: Any, index: int) -> Any:
    return options[index % len(options)]


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, 200 dpi, or a PDF, by the path's suffix; the same bytes for the same figure: no date, no version."""
    write_atomic(path, drawn(figure, path.suffix[1:]))


def drawn(figure: Figure, kind: str, dpi: int = 200) -> bytes:
    """The figure as a PNG or a PDF."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # TrueType: publishers refuse matplotlib's default, Type 3
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=dict.fromkeys(SIGNED[kind]))
    return buffer.getvalue()
