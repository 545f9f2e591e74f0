"""How a run tells what it is doing: a live bar, or plain lines where nobody watches."""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import suppress
from typing import TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 20
UNHEARD = suppress(OSError, ValueError)  # a log on a full disk, or a terminal that is gone, stops no training


class Progress:
    """What a run tells while it trains; this one says nothing."""

    def begin(self, name: str, total: int, images: int, done: int, how: str) -> None:
        """A run of `total` images, `images` an epoch, begins, `done` of them having been trained on before."""

    def step(self, images: int) -> None:
        """One optimizer step on `images` images has been issued."""

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch has ended; `row` is its line of the history."""

    def note(self, line: str) -> None:
        """Something that the user should know and that does not stop the run."""

    def end(self) -> None:
        """The run has ended, or was interrupted."""


class Bar(Progress):
    """A bar over all images of the run, with images/s and the time left, for terminals and JupyterLab."""

    bar: tqdm | None = None

    def begin(self, name: str, total: int, images: int, done: int, how: str) -> None:
        _say(how, sys.stderr)
        with UNHEARD:
            self.bar = tqdm(
                total=total,
                initial=done,
                desc=name,
                unit=" images",
                unit_scale=True,
                dynamic_ncols=True,
                mininterval=0.5,
                file=sys.stderr,
            )

    def step(self, images: int) -> None:
        if self.bar:
            with UNHEARD:
                self.bar.update(images)

    def epoch(self, row: dict[str, float]) -> None:
        if self.bar:
            self.bar.set_postfix_str(_summary(row), refresh=False)

    def note(self, line: str) -> None:
        with UNHEARD:
            tqdm.write(line, file=sys.stderr)

    def end(self) -> None:
        if self.bar:
            with UNHEARD:
                self.bar.close()


class Lines(Progress):
    """A line now and then: for logs, batch output and executed notebooks.

    `shared`: others tell of their runs in the same place, so that each line names its own.
    """

    shared, mark = False, "  "

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared

    def begin(self, name: str, total: int, images: int, done: int, how: str) -> None:
        if self.shared:
            self.mark = f"{name}: "
        self.epochs, self.images, self.trained = math.ceil(total / images), images, 0
        self.began = self.spoken = time.monotonic()
        whole = f"{self.epochs} epoch{'s' * (self.epochs > 1)} of {images:,} images"
        length = f"{total:,} images, {images:,} an epoch" if total % images else whole
        resumed = f", resumed after {done / images:.1f} epochs" if done else ""
        _say(f"{name}: {length}{resumed} ({how})")

    def step(self, images: int) -> None:
        """Told of the first epoch alone: an epoch's own line says how fast it was, and how long the rest will take."""
        self.trained += images
        now = time.monotonic()
        if self.trained < self.images and now - self.spoken >= SECONDS_BETWEEN_LINES:
            self.spoken = now
            rate = self.trained / (now - self.began)
            _say(f"{self.mark}{self.trained:,} images so far, {rate:.0f} images/s")

    def epoch(self, row: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self.spoken >= SECONDS_BETWEEN_LINES or row["epoch"] == self.epochs:
            self.spoken = now
            rate = row["images_per_second"]
            left = (self.epochs - row["epoch"]) * row["seconds"]
            ending = "done" if row["epoch"] == self.epochs else f"about {_duration(left)} left"
            _say(f"{self.mark}epoch {row['epoch']}/{self.epochs}: {_summary(row)}, {rate:.0f} images/s, {ending}")

    def note(self, line: str) -> None:
        _say(line)


def _say(line: str, file: TextIO | None = None) -> None:
    with UNHEARD:
        print(line, file=file, flush=True)


def default() -> Progress:
    """A bar where somebody watches (a terminal, a notebook open in Jupyter), else lines."""
    return Bar() if is_watched() else Lines()


def bytes_bar(total: int | None) -> tqdm:
    """A bar over bytes; silent where nobody watches."""
    return tqdm(total=total, unit="B", unit_scale=True, file=sys.stderr, leave=False, disable=not is_watched())


def is_watched() -> bool:
    in_jupyter = "JPY_SESSION_NAME" in os.environ  # set by Jupyter Server for kernels that a person opened
    return in_jupyter or sys.stderr.isatty()


def _summary(row: dict[str, float]) -> str:
    held_out = "val" if "val_accuracy" in row else "test"
    return f"train loss {row['train_loss']:.3f}, {held_out} accuracy {100 * row[f'{held_out}_accuracy']:.1f} %"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
