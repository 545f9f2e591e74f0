"""Test images that are also, nearly, training images: found by the pixels, kept in `near_duplicates.csv`.

Barz & Denzler (2020, "Do we train on test data? Purging CIFAR of near-duplicates", J. Imaging 6(6), 41) found one for
3.3 % of CIFAR-10's test images, by the features of a network and by eye. Here nothing is trained and nobody judges a
single pair: what two images have in common is the correlation of their detail.

Detail is what a pixel differs from its surroundings by, at half the resolution. Of the 300 test images most like their
nearest training image, 32 had another label than it by plain pixels, which pair one sky, sea or lawn with another; 20
by half-size pixels; 25 by detail up to the edge, which pairs images with a frame in common; and 7 by what is done here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from resnet_lib.config import TEST_IMAGES, TRAIN_IMAGES
from resnet_lib.errors import LabError
from resnet_lib.machine.files import write_atomic
from resnet_lib.records.find import reports_folder

# By eye, once through all but four of the pairs from 0.76 on: from 0.85 on (233 pairs) all but about eight show one
# photograph, or one thing photographed or drawn twice; the others are ships on the sea and planes in the sky. From
# 0.82 to 0.85 about 25 of 36 pairs do, from 0.80 to 0.82 about 19 of 29. Below, it is fewer than half: about 25 of 57
# from 0.78 to 0.80, and 18 of 59 from 0.76 to 0.78. So some are missed, and one in ten of those found is only alike.
THRESHOLD = 0.8

SURROUNDINGS = 5  # half-size pixels along a side of what a pixel is compared with
BLOCK = 250  # test images compared at once: 50 MB of correlations either way round, and as much to stack them

COLUMNS = ("test", "train", "mirrored", "correlation")


@dataclass(frozen=True)
class Pairs:
    """Test images, each with one training image."""

    test: np.ndarray  # int64 [N]: index among the test images
    train: np.ndarray  # int64 [N]: index among the training images
    mirrored: np.ndarray  # bool [N]: whether it is the training image's mirror image that is alike
    correlation: np.ndarray  # float32 [N], -1 to 1

    def __len__(self) -> int:
        return len(self.test)

    def __getitem__(self, chosen: np.ndarray) -> Pairs:
        """The pairs of a mask [N], or of indices in their order."""
        return Pairs(*(column[chosen] for column in vars(self).values()))


def path() -> Path:
    return reports_folder() / "near_duplicates.csv"


def nearest(test: np.ndarray, train: np.ndarray, say: Callable[[str], None] = lambda line: None) -> Pairs:
    """For each test image, the training image most like it, as it is or mirrored; both uint8 [N, 3, 32, 32]."""
    say("detail of the images")
    ways = np.stack([detail(test), detail(test[..., ::-1])])
    training = detail(train).T
    found = []
    for start in range(0, len(test), BLOCK):
        say(f"test image {start:,} of {len(test):,}")
        correlation = np.stack([way[start : start + BLOCK] @ training for way in ways])  # [2, block, training images]
        best = correlation.argmax(axis=2)
        found.append((best, np.take_along_axis(correlation, best[..., None], axis=2)[..., 0]))
    best, correlation = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    mirrored, images = correlation[1] > correlation[0], np.arange(len(test))
    chosen = mirrored.astype(int), images
    return Pairs(images, best[chosen], mirrored, correlation[chosen].clip(-1, 1))


def detail(images: np.ndarray) -> np.ndarray:
    """Detail of images uint8 [N, C, H, W], so that a dot product is a correlation: float32 [N, D], mean 0, length 1.

    Brightness, contrast and slow changes of either do not count; half the resolution softens small shifts.
    Pixels without all of their surroundings, next to the edge, are left out. An image without detail has zeros.
    """
    count, channels, height, width = images.shape
    half = images.reshape(count, channels, height // 2, 2, width // 2, 2).mean(axis=(3, 5), dtype=np.float32)
    edge = SURROUNDINGS // 2
    local = sliding_window_view(half, (SURROUNDINGS, SURROUNDINGS), axis=(2, 3)).mean(axis=(4, 5))
    flat = (half[:, :, edge:-edge, edge:-edge] - local).reshape(count, -1)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-3)  # below, it is rounding


def near(pairs: Pairs) -> Pairs:
    """The pairs that count as near-duplicates."""
    return pairs[pairs.correlation >= THRESHOLD]


def write(pairs: Pairs, file: Path) -> None:
    """Write the near-duplicates among `pairs`, by test image."""
    chosen = near(pairs)
    chosen = chosen[np.argsort(chosen.test)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for test, train, mirrored, correlation in zip(*vars(chosen).values(), strict=True):
        table.writerow((test, train, int(mirrored), f"{correlation:.4f}"))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, text.getvalue().encode())


def read(file: Path) -> Pairs:
    """The near-duplicates that `write` wrote. Raises LabError if the file is missing or damaged."""
    try:
        return _parse(file.read_text())
    except (OSError, ValueError, OverflowError, csv.Error) as error:
        raise LabError(f"{file} cannot be read ({error}): run `resnet-lab data duplicates` again") from None


def known() -> Pairs | None:
    """The near-duplicates that were found; None before anybody looked."""
    return read(path()) if path().exists() else None


def _parse(text: str) -> Pairs:
    """Raises ValueError for what is not a whole table of near-duplicates."""
    if not text.endswith("\n"):
        raise ValueError("its last line is torn")
    header, *rows = csv.reader(text.splitlines())
    if tuple(header) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise ValueError(f"it has not the columns {', '.join(COLUMNS)} in every row")
    columns = [np.array([row[place] for row in rows], str) for place in range(len(COLUMNS))]
    test, train, mirrored = (column.astype(np.int64) for column in columns[:3])
    correlation = columns[3].astype(np.float32)
    if (np.diff(test) <= 0).any():
        raise ValueError("its test images do not increase")
    ranges = (
        (test, 0, TEST_IMAGES["all"] - 1),
        (train, 0, TRAIN_IMAGES["all"] - 1),
        (mirrored, 0, 1),
        (correlation, np.float32(THRESHOLD), 1),
    )
    for name, (values, low, high) in zip(COLUMNS, ranges, strict=True):
        if not ((values >= low) & (values <= high)).all():
            raise ValueError(f"its column {name} leaves {low:g} to {high:g}")
    return Pairs(test, train, mirrored == 1, correlation)
