"""One run, looked at closely: which classes it confuses, whether its confidence is deserved, where it is wrong."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from resnet_lib.data.dataset import Dataset
from resnet_lib.errors import LabError
from resnet_lib.records.record import Record
from resnet_lib.records.scores import CALIBRATION_BINS, calibration_bins
from resnet_lib.report.canvas import GREY, colour, new_figure, on_paper, put_stamp
from resnet_lib.report.gallery import GAP

CONFUSION = "What each class was taken for, in % of its images; shades are of the mistakes alone."
RELIABILITY = (
    f"Accuracy of the predictions by their confidence, in {CALIBRATION_BINS} bins: below the line the network was too "
    "sure of itself."
)
MISTAKES = "Its most confident mistakes: what each image is, and what it was taken for."
ROWS, COLUMNS = 3, 8  # of mistakes
TEXT = 22  # pixels below an image, for two lines


@on_paper
def confusion(record: Record, profile: str) -> Figure:
    """What each class was taken for, in % of its images.

    Shades are of the mistakes alone: beside the diagonal they could not be seen.
    """
    counts, classes = np.array(record.result["confusion"]), record.result["classes"]
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, shares)
    figure, axes = new_figure(5.2)
    sns.heatmap(
        wrong, annot=shares, fmt=".1f", annot_kws={"fontsize": "small"}, cmap="Oranges", cbar=False, square=True,
        xticklabels=classes, yticklabels=classes, linewidths=0.5, ax=axes,
    )  # fmt: skip
    axes.set(xlabel="Predicted", ylabel=f"Class of the {record.config.held_out} image")
    axes.tick_params(axis="x", rotation=45)
    axes.tick_params(axis="y", rotation=0)
    put_stamp(figure, profile)
    return figure


@on_paper
def reliability(record: Record, profile: str) -> Figure:
    """Accuracy against confidence, in the bins of the calibration error (Guo et al. 2017)."""
    confidence = record.predictions["confidence"].astype(float)
    which = calibration_bins(confidence)
    counts = np.bincount(which, minlength=CALIBRATION_BINS)
    full = counts > 0
    means = [
        100 * np.bincount(which, values, CALIBRATION_BINS)[full] / counts[full]
        for values in (confidence, record.correct)
    ]
    figure, axes = new_figure(3.6)
    axes.plot([0, 100], [0, 100], color=GREY, linestyle=":", linewidth=1, label="confidence that is deserved")
    axes.plot(*means, color=colour(0), linewidth=1.3)
    axes.scatter(*means, 12 + 300 * counts[full] / counts.sum(), color=colour(0), label="images (area: how many)")
    axes.set(xlabel="Confidence (%)", ylabel="Accuracy (%)", xlim=(0, 102), ylim=(0, 104))
    axes.legend(loc="upper left", frameon=False)
    put_stamp(figure, profile)
    return figure


@on_paper
def mistakes(record: Record, dataset: Dataset, profile: str) -> Figure:
    """The images of which a run was most sure and wrong, with what they are and what they were taken for.

    It must have made some. Of those that it was as sure of as of the last that is shown (confidences are kept in half
    precision), some at even ranks. Raises LabError if it was evaluated on other images.
    """
    if not np.array_equal(record.predictions["label"], dataset.test_labels):
        raise LabError(f"{record.path.name} was evaluated on other images than those that are here")
    wrong, confidence = np.flatnonzero(~record.correct), record.predictions["confidence"]
    least = np.sort(confidence[wrong])[-ROWS * COLUMNS :][0]
    surer, alike = (wrong[which] for which in (confidence[wrong] > least, confidence[wrong] == least))
    room = min(len(alike), ROWS * COLUMNS - len(surer))
    ranks = np.linspace(0, len(alike) - 1, room).round().astype(int)
    shown = np.r_[surer[np.argsort(-confidence[surer], kind="stable")], alike[ranks]]
    side = dataset.test_images.shape[-1]
    width, height = side + 4 * GAP, side + TEXT
    canvas = np.full((ROWS * height, COLUMNS * width, 3), 255, np.uint8)
    figure, axes = new_figure(0.5 + ROWS * 1.15)
    for place, index in enumerate(shown):
        top, left = place // COLUMNS * height, place % COLUMNS * width + 2 * GAP
        canvas[top : top + side, left : left + side] = dataset.test_images[index].transpose(1, 2, 0)
        is_, taken = (dataset.classes[record.predictions[name][index]] for name in ("label", "predicted"))
        text = f"{is_}\n→ {taken}, {100 * confidence[index]:.0f} %"
        axes.text(left + side / 2, top + side + 1, text, ha="center", va="top", fontsize="x-small")
    axes.imshow(canvas, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    count = len(surer) + len(alike)
    axes.set_title(
        f"{len(shown)} of {count:,} at a confidence of {100 * least:.1f} % or more; wrong in all: {len(wrong):,}",
        loc="left",
    )
    sns.despine(ax=axes, left=True, bottom=True)
    put_stamp(figure, profile)
    return figure
