"""A log of somebody's own training: what its curves show, and which recorded runs it is most like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from resnet_lib.config import Config, LabError
from resnet_lib.findings.curves import FITTED, GAP, LOSS_TREND, LOW, loss_rise, overfits, underfits
from resnet_lib.findings.diagnosis import FALL, mean_fall
from resnet_lib.records.record import Record

# What each column may be called, without regard to case, spaces and hyphens; `accuracy` beside `val_accuracy`, as
# Keras has it, is that of training.
NAMES = {
    "test_accuracy": ("test_accuracy", "val_accuracy", "valid_accuracy", "test_acc", "val_acc", "valid_acc"),
    "train_accuracy": ("train_accuracy", "training_accuracy", "train_acc", "training_acc", "accuracy", "acc"),
    "test_loss": ("test_loss", "val_loss", "valid_loss"),
    "lr": ("lr", "learning_rate"),
}
TENTHS = 10  # parts of a training over which accuracies are compared: single epochs jump about
UNKNOWN = "not in the log"


@dataclass(frozen=True)
class Sign:
    """Something that a log may show."""

    name: str
    is_seen: bool | None  # None: the columns that would show it are not there
    evidence: str
    advice: str


def read_log(path: Path) -> Record:
    """A CSV with a row for each epoch, or with several of which the last that says something counts, as a record.

    Of the record only the history means anything. Accuracies may be shares or in %. Raises LabError for a file that is
    no such log, or has too few epochs.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:  # of pandas' own errors, too
        raise LabError(f"{path} cannot be read as CSV: {error}") from None
    table.columns = [str(name).strip().lower().replace(" ", "_").replace("-", "_") for name in table.columns]
    if "epoch" in table:
        table = table.groupby("epoch").last()
    found = {name: next((told for told in names if told in table), None) for name, names in NAMES.items()}
    if not found["test_accuracy"]:
        told = ", ".join(map(str, table.columns))
        raise LabError(f"{path} has no column test_accuracy or val_accuracy, but {told}: rename the one that is meant")
    columns = {name: _numbers(table[told], path) for name, told in found.items() if told}
    if len(table) < TENTHS:
        raise LabError(f"{path} has {len(table)} epochs: {TENTHS} are needed for its curves to show anything")
    for name in columns.keys() & {"test_accuracy", "train_accuracy"}:
        if columns[name].max() > 1:
            columns[name] = columns[name] / 100
        if not ((columns[name] >= 0) & (columns[name] <= 1)).all():
            raise LabError(f"{path} has a {found[name]} that is neither a share nor in %: see to that column")
    rows = [{name: float(values[place]) for name, values in columns.items()} for place in range(len(table))]
    return Record(path, Config(epochs=len(rows)), rows, {})


def _numbers(column: pd.Series, path: Path) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    if not np.isfinite(values).all():
        raise LabError(f"{path} has no number in row {int(np.argmin(np.isfinite(values))) + 1} of {column.name}")
    return values


def signs(log: Record) -> list[Sign]:
    """What the curves show, in the order of the README's checklist, whose first point no curve shows."""
    return [_high_rate(log), _overfitting(log), _underfitting(log)]


def _high_rate(log: Record) -> Sign:
    fall = mean_fall(log)
    evidence = (
        f"at the end test accuracy falls back by {100 * fall:.1f} points from one epoch to the next, gains counting as "
        f"nothing (more than {100 * FALL:.1f}: a sign)"
    )
    if "lr" in log.history[0]:
        rates = [row["lr"] for row in log.history]
        evidence += f"; the learning rate ended at {rates[-1]:g}, of {max(rates):g} at most"
    advice = "train a few epochs on at a tenth of it (2.)"
    return Sign("the learning rate is still high", fall > FALL, evidence, advice)


def _overfitting(log: Record) -> Sign:
    name, advice = "it overfits", "random crops and flips (3.)"
    if not {"train_accuracy", "test_loss"} <= log.history[0].keys():
        return Sign(name, None, UNKNOWN, advice)
    evidence = (
        f"{_at_the_end(log, 'train_accuracy')}, test loss {100 * loss_rise([log]):.0f} % above its minimum "
        f"({100 * FITTED:g} and {100 * LOSS_TREND:g} or more: a sign)"
    )
    return Sign(name, overfits(log), evidence, advice)


def _underfitting(log: Record) -> Sign:
    name, advice = "it underfits", "the stem; train longer; raise a small learning rate (4.)"
    if "train_accuracy" not in log.history[0]:
        return Sign(name, None, UNKNOWN, advice)
    evidence = (
        f"{_at_the_end(log, 'train_accuracy')}, {_at_the_end(log, 'test_accuracy')} "
        f"(below {100 * LOW:g}, and within {100 * GAP:g} points: a sign)"
    )
    return Sign(name, underfits(log), evidence, advice)


def _at_the_end(log: Record, name: str) -> str:
    return f"{name.replace('train_', 'training ').replace('_', ' ')} {100 * log.history[-1][name]:.1f} %"


def nearest(log: Record, runs: Iterable[Record], count: int = 5) -> list[tuple[float, Record]]:
    """The recorded settings whose accuracies are most like the log's, the nearest first, with the distance in points.

    That is the mean difference over tenths of the training, of test accuracy and, where the log has it, of training
    accuracy. Only runs at least half and at most twice as long are compared, and of a setting its nearest run.
    """
    best: dict[str, tuple[float, Record]] = {}
    for run in runs:
        if 0.5 <= len(run.history) / len(log.history) <= 2 and run.config.held_out == "test":
            distance = float(100 * np.abs(_tenths(log, log) - _tenths(run, log)).mean())
            if distance < best.get(run.config.fingerprint, (np.inf, run))[0]:
                best[run.config.fingerprint] = (distance, run)
    return sorted(best.values(), key=lambda found: found[0])[:count]


def _tenths(run: Record, log: Record) -> np.ndarray:
    """Accuracies [columns, TENTHS] of a run, of the columns that the log has."""
    columns = [name for name in ("test_accuracy", "train_accuracy") if name in log.history[0]]
    curves = [[row[name] for row in run.history] for name in columns]
    return np.array([[part.mean() for part in np.array_split(np.array(curve), TENTHS)] for curve in curves])
