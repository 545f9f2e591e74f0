"""What the curves of runs show: where a drop took the accuracy, where the loss ended, over- and underfitting.

What is said of several runs is read off each of them: their mean curve is smoother than any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from resnet_lib.records.record import Record, Row

HIGH = 10  # epochs before the first drop over whose accuracies a mean is taken, for they jump from one to the next
SETTLED = 3  # and so many after it
TIMES = ("seconds", "images_per_second")  # columns that are never the same
LAST = 20  # epochs at the end over which a range is told
FITTED = 0.99  # training accuracy from which a network knows its images
LOW = 0.8  # and below which it is far from knowing them
GAP = 0.03  # training accuracy no more than this above the test's: what it has learned is no more than it can use
# A test loss that ends more than this share above its minimum has a rising trend; a training loss whose last tenth of
# the epochs lies more than this below the tenth before still falls; whether one that lies less below does is undecided.
LOSS_TREND = 0.05


class HasHistory(Protocol):
    """What curves are read from: a record, or a log of somebody's own training."""

    @property
    def history(self) -> list[Row]: ...

    @property
    def held_out(self) -> str: ...


def came_down(record: HasHistory) -> bool:
    """Whether the learning rate ended well below its peak: while it is high, the last epoch is a matter of luck."""
    rates = [row["lr"] for row in record.history]
    return rates[-1] < max(rates) / 2


def curve(record: HasHistory, column: str) -> np.ndarray:
    """A column [epochs] of the history; `loss` and `accuracy` are those of the held-out images."""
    name = f"{record.held_out}_{column}" if column in ("loss", "accuracy") else column
    return np.array([row[name] for row in record.history])


def mean_curve(records: list[Record], column: str) -> np.ndarray:
    """The mean over the runs of a config."""
    return np.mean([curve(record, column) for record in records], axis=0)


def last_epochs(records: list[Record]) -> np.ndarray:
    """Held-out accuracies [runs, LAST] of the last epochs of every run."""
    return np.array([curve(record, "accuracy")[-LAST:] for record in records])


@dataclass(frozen=True)
class FirstDrop:
    """What the first drop of the learning rate did to the held-out accuracy, say, of the runs of a config."""

    before: np.ndarray  # [runs, epochs], of the last HIGH epochs before it
    after: np.ndarray  # [runs, epochs], of the first SETTLED epochs after it

    @property
    def gains(self) -> np.ndarray:
        """[runs]"""
        return self.after.mean(axis=1) - self.before.mean(axis=1)

    @property
    def gain(self) -> float:
        return float(self.gains.mean())


def epochs_before_the_drop(record: Record) -> int:
    """How many a run had until its learning rate first dropped; all of them if it never did."""
    return sum(row["drops"] == 0 for row in record.history)


def first_drop(records: list[Record], column: str = "accuracy") -> FirstDrop:
    """Of runs that have come to it."""
    curves = np.array([curve(record, column) for record in records])
    epochs = epochs_before_the_drop(records[0])
    return FirstDrop(curves[:, :epochs][:, -HIGH:], curves[:, epochs : epochs + SETTLED])


def one_until_the_drop(dropped: list[Record], others: list[Record]) -> list[tuple[Record, Record]]:
    """Pairs, of each list one, that were one and the same training until the rate of the first dropped."""
    others_by_seed = {other.config.seed: other for other in others}
    pairs = [(one, others_by_seed[one.config.seed]) for one in dropped if one.config.seed in others_by_seed]
    return [(one, other) for one, other in pairs if _are_alike(one, other, epochs_before_the_drop(one))]


def _are_alike(one: Record, other: Record, epochs: int) -> bool:
    pairs = zip(one.history[:epochs], other.history[:epochs], strict=False)
    return all(a[column] == b[column] for a, b in pairs for column in a if column not in TIMES)


def drop_gains(records: list[Record]) -> list[float]:
    """What the first drop gave each run that made one, sorted."""
    return sorted(first_drop([record]).gain for record in records if record.history[-1]["drops"])


def rise_by_chance(record: Record) -> float:
    """The most that `FirstDrop.gain` would be at an epoch at which the learning rate does not drop.

    From a quarter of the run on, when the network no longer improves by much, to the first drop.
    """
    seen = curve(record, "accuracy")
    flat = epochs_before_the_drop(record)
    places = range(max(HIGH, len(seen) // 4), flat - SETTLED + 1)
    return float(max(seen[at : at + SETTLED].mean() - seen[at - HIGH : at].mean() for at in places))


def loss_rise(records: Sequence[HasHistory]) -> float:
    """How far the held-out loss ended above its minimum, as a share of it, mean over the runs."""
    curves = [curve(record, "loss") for record in records]
    return float(np.mean([loss[-1] / loss.min() - 1 for loss in curves]))


def loss_end(records: list[Record]) -> str:
    """Where the held-out loss ended, in words."""
    curves = [curve(record, "loss") for record in records]
    ended = f"ended at {np.mean([loss[-1] for loss in curves]):.3f}"
    if not loss_rise(records):
        return f"{ended}, its minimum"
    places = sorted({int(loss.argmin()) + 1 for loss in curves})
    where = f"epoch {places[0]}" if len(places) == 1 else f"epochs {places[0]} to {places[-1]}, by run"
    return f"{ended}, {100 * loss_rise(records):.1f} % above its minimum ({where})"


def overfits(record: HasHistory) -> bool:
    """A network that knows its images, and whose test loss ended well above its minimum."""
    return bool(curve(record, "train_accuracy")[-1] >= FITTED and loss_rise([record]) > LOSS_TREND)


def underfits(record: HasHistory) -> bool:
    """A network that is far from knowing its images, and does hardly better on them than on others.

    Its training accuracy is that over the last epoch, on the images as they were trained on.
    """
    train, test = (curve(record, column)[-1] for column in ("train_accuracy", "accuracy"))
    return bool(train < LOW and train - test <= GAP)
