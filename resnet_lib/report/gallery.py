"""Images of a data set → figures: some of each class; test images above the training images that they nearly are."""

from __future__ import annotations

import math
import textwrap

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from resnet_lib.data.dataset import Dataset
from resnet_lib.data.duplicates import THRESHOLD, Pairs, near
from resnet_lib.report.canvas import new_figure, on_paper, put_stamp

GAP = 3  # pixels between images
LINE = 12  # pixels below a pair, for its correlation


@on_paper
def pairs(dataset: Dataset, found: Pairs, columns: int = 12, rows: int = 3) -> Figure:
    """Near-duplicates, from the most alike to the least, at even ranks where there are too many."""
    chosen = near(found)
    ranks = np.linspace(0, len(chosen) - 1, min(columns * rows, len(chosen))).round().astype(int)
    shown = chosen[np.argsort(-chosen.correlation, kind="stable")[ranks]]
    side = dataset.test_images.shape[-1]
    width, height = side + GAP, 2 * side + LINE
    lines = max(1, math.ceil(len(shown) / columns))
    canvas = np.full((lines * height, columns * width - GAP, 3), 255, np.uint8)
    figure, axes = new_figure(0.7 + lines * 1.3)
    for place in range(len(shown)):
        top, left = place // columns * height, place % columns * width
        train = dataset.train_images[shown.train[place]]
        train = train[..., ::-1] if shown.mirrored[place] else train
        both = np.concatenate([dataset.test_images[shown.test[place]], train], axis=1)
        canvas[top : top + 2 * side, left : left + side] = both.transpose(1, 2, 0)
        text = f"{shown.correlation[place]:.3f}"
        axes.text(left + side / 2, top + 2 * side + 1, text, ha="center", va="top", fontsize="small")
    axes.imshow(canvas, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    sns.despine(ax=axes, left=True, bottom=True)
    total = len(dataset.test_images)
    axes.set_title(f"{len(chosen):,} of {total:,} test images have a near-duplicate to train on", loc="left")
    caption = (
        "Above the test image, below its nearest training image (mirrored where that is more alike), and the "
        f"correlation of their detail: {len(shown)} pairs, from the most alike to the least that counts. "
        f"Those near the threshold, {THRESHOLD}, are not all one photograph."
    )
    axes.set_xlabel(textwrap.fill(caption, 110), loc="left", fontsize="small")
    return figure


@on_paper
def images(dataset: Dataset, profile: str) -> Figure:
    """Training images, one row per class, with how many of them there are."""
    side, columns = dataset.train_images.shape[-1], 12
    counts = np.bincount(dataset.train_labels, minlength=len(dataset.classes))
    canvas = np.full((len(counts) * (side + GAP) - GAP, columns * (side + GAP) - GAP, 3), 255, np.uint8)
    for row in range(len(counts)):
        for column, index in enumerate(np.flatnonzero(dataset.train_labels == row)[:columns]):
            top, left = row * (side + GAP), column * (side + GAP)
            canvas[top : top + side, left : left + side] = dataset.train_images[index].transpose(1, 2, 0)
    figure, axes = new_figure(5.6)
    axes.imshow(canvas, interpolation="nearest")
    labels = [f"{name}  {count:,}" for name, count in zip(dataset.classes, counts, strict=True)]
    axes.set_yticks(np.arange(len(counts)) * (side + GAP) + side / 2, labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
    sns.despine(ax=axes, left=True, bottom=True)
    axes.set_title(f"{counts.sum():,} training images in {len(counts)} classes", loc="left")
    axes.set_xlabel(textwrap.fill(dataset.source, 90), loc="left", fontsize="small")
    put_stamp(figure, profile)
    return figure
