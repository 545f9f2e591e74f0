"""A log of somebody's own training, and which recorded runs it is most like."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.errors import ParserWarning

from resnet_lib.errors import LabError
from resnet_lib.findings.curves import HasHistory
from resnet_lib.records.record import Record, Row

# What each column may be called, without regard to what `_plain` evens out; `accuracy` beside `val_accuracy`, as
# Keras has it, is that of training. Of several that are there, the one with the most numbers counts.
NAMES = {
    "test_accuracy": ("test_accuracy", "val_accuracy", "valid_accuracy", "test_acc", "val_acc", "valid_acc"),
    "train_accuracy": ("train_accuracy", "training_accuracy", "train_acc", "training_acc", "accuracy", "acc"),
    "test_loss": ("test_loss", "val_loss", "valid_loss"),
    "lr": ("lr", "learning_rate"),
}
LOSSES = (*NAMES["test_loss"], "train_loss", "training_loss", "loss")
KNOWN = {"epoch", *LOSSES, *(name for names in NAMES.values() for name in names)}
EMPTY = ("na", "n/a", "#n/a", "#na", "<na>", "none", "null")  # what stands in a cell without a number, and
LOST = ("nan", "-nan", "inf", "-inf", "infinity", "-infinity")  # which a loss may come to as well
TENTHS = 10  # parts of a training over which accuracies are compared: single epochs jump about
PERCENT = 1.5  # accuracies above it are in %
ROUNDING = 1e-6  # by which a share may be above 1


@dataclass(frozen=True)
class Log:
    """A training of which nothing is known but its curves, of the columns in NAMES that it has."""

    history: list[Row]  # a row for each epoch in which the test accuracy was measured
    epochs: int  # that it took, also those without one
    first: int | None  # the number of its first epoch; None: it numbers none, so that each row was taken for one
    lost: int = 0  # epochs at the end whose loss became nan or infinite
    held_out: str = "test"


def read_log(path: Path) -> Log:
    """A CSV with a row for each epoch.

    Of several rows of an epoch, the last number in a column counts, and of training accuracies, which may be those of
    single steps, the mean; a learning rate in a row without an epoch is that of the next. Accuracies may be shares or
    in %. Raises LabError for a file that is no such log, or has too few epochs.
    """
    table = _by_epoch(_read(path), path)
    columns = {name: column for name, names in NAMES.items() if (column := _column(table, names, path)) is not None}
    if "test_accuracy" not in columns:
        told = ", ".join(map(str, table.columns))
        reason = f"{path} has no column test_accuracy or val_accuracy, but {told}"
        raise LabError(f"{reason}: rename the one that is meant, or log it, for losses alone are not enough")
    known = np.isfinite(columns["test_accuracy"])
    if known.sum() < TENTHS:
        count = int(known.sum())
        told = "1 row" if count == 1 else f"{count} rows"
        raise LabError(f"{path} has a test accuracy in {told}: {TENTHS} epochs are needed for a curve to show anything")
    lost = _lost(table, known)
    columns = {name: column[known] for name, column in columns.items()}
    columns = {name: column for name, column in columns.items() if np.isfinite(column).all()}
    if "test_loss" in columns and columns["test_loss"].min() <= 0:  # of what was rounded to 0, no share can be told
        del columns["test_loss"]
    for name in columns.keys() & {"test_accuracy", "train_accuracy"}:
        columns[name] = _shares(columns[name], name, path)
    rows = [dict(zip(columns, map(float, values), strict=True)) for values in zip(*columns.values(), strict=True)]
    first = int(table.index.min())
    return Log(rows, 1 + int(table.index.max()) - first, first if table.index.name == "epoch" else None, lost)


def _read(path: Path) -> pd.DataFrame:
    if path.is_dir() or not path.exists():
        raise LabError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}: give the path of your log, a CSV file"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")  # at once: a pipe can be read only once
        header, _, rest = text.partition("\n")
        sep = max(",;\t", key=header.count)
        if told := re.fullmatch('"?sep=(.)"?', header.strip()):  # as Excel may have it
            text, sep = rest, told[1]
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)
            table = pd.read_csv(
                io.StringIO(text), sep=sep, index_col=False, dtype=str, keep_default_na=False, na_values=[""],
                skipinitialspace=True,
            )  # fmt: skip
    except UnicodeDecodeError:
        raise LabError(f"{path} is not text in UTF-8: save it as CSV in UTF-8") from None
    except ParserWarning as error:
        more = "a row has more fields than there are names; if numbers have commas, write points"
        raise LabError(f"{path} cannot be read as CSV: {more} ({error})") from None
    except (OSError, ValueError) as error:  # of pandas' own errors, too
        raise LabError(f"{path} cannot be read as CSV: {error}") from None
    table = _named(table, path)
    for name in table:
        cells = table[name].str.strip().str.lower()
        lost = np.inf if name in LOSSES else None
        table[name] = table[name].mask(cells.isin(LOST), lost).mask(cells.isin(EMPTY), None)
    return table


def _named(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Its columns by the names in KNOWN, where they can be told; others as they are."""
    plain = {name: _plain(str(name)) for name in table.columns}
    # Keras names an accuracy by its loss; one that is plainly named as well is taken instead.
    # Lightning's monitor names a learning rate by its optimizer, as `lr-SGD`.
    longer = "(sparse_)?categorical_(?=acc)|(?<=^lr)_(sgd|[nr]?adamw?|rmsprop)(_pg1)?$"
    short = {name: re.sub(longer, "", one) for name, one in plain.items()}
    names = plain | {name: one for name, one in short.items() if one not in plain.values()}
    meant: dict[str, list[str]] = {}
    for name, one in names.items():
        if one in KNOWN:
            meant.setdefault(one, []).append(str(name))
    if twice := next((found for found in meant.values() if len(found) > 1), None):
        raise LabError(f"{path} has two columns that mean one thing, {' and '.join(twice)}: rename one")
    return table.rename(columns={name: one for name, one in names.items() if one in KNOWN})


def _plain(name: str) -> str:
    """`val_accuracy` of `Val accuracy`, and of Lightning's `val/accuracy_epoch`."""
    return re.sub("[ /-]+", "_", name.strip().lower()).removesuffix("_epoch")


def _by_epoch(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if "epoch" not in table:
        return table
    epochs = _numbers(table["epoch"], path)
    seen = epochs[np.isfinite(epochs)]
    if ((seen[1:] == seen[:1]) & (seen[:-1] != seen[:1])).any():
        raise LabError(f"{path} comes to its first epoch again: leave one training in it")
    trained = {name: pd.Series(_numbers(table[name], path)) for name in NAMES["train_accuracy"] if name in table}
    means = {name: column.groupby(epochs).mean() for name, column in trained.items()}
    following = pd.Series(epochs).bfill()  # Lightning's rows of rates name no epoch, and come before its others
    rates = {name: table[name].groupby(following).last() for name in NAMES["lr"] if name in table}
    for name in NAMES["test_loss"]:
        if name in table:
            _numbers(table[name], path)  # refuses what is none; what a training loss has beside numbers is left out
    losses = {name: _last_loss(table[name], epochs) for name in LOSSES if name in table}
    return table.groupby(epochs).last().assign(**means, **rates, **losses).rename_axis("epoch")


def _last_loss(column: pd.Series, epochs: np.ndarray) -> pd.Series:
    """The last number of each epoch; inf where there is none, but a loss that was lost."""
    values = pd.to_numeric(column, errors="coerce")
    last = values.where(np.isfinite(values)).groupby(epochs).last()
    return last.where(last.notna() | ~np.isinf(values).groupby(epochs).any(), np.inf)


def _lost(table: pd.DataFrame, is_tested: np.ndarray) -> int:
    """In how many epochs at the end a loss is nan or infinite that was a number before; the most of any.

    Less than two are none: it may stand for an empty cell.
    """
    most = 0
    for name in (name for name in LOSSES if name in table):
        seen = table[name][is_tested] if name in NAMES["test_loss"] else table[name]
        is_lost = np.isinf(pd.to_numeric(seen, errors="coerce").dropna()).to_numpy()
        if is_lost.any() and not is_lost.all():
            most = max(most, int(is_lost[::-1].argmin()))
    return most if most > 1 else 0


def _column(table: pd.DataFrame, names: tuple[str, ...], path: Path) -> np.ndarray | None:
    """NaN where there is no number; None where the table has none of the names."""
    found = [_numbers(table[name], path) for name in names if name in table]
    return max(found, key=lambda column: np.isfinite(column).sum()) if found else None


def _numbers(column: pd.Series, path: Path) -> np.ndarray:
    """NaN where a cell is empty, or not finite."""
    values = pd.to_numeric(column, errors="coerce")
    if wrong := list(column[values.isna() & column.notna()]):
        reason = f"{path} has {wrong[0]!r} in the column {column.name}, which is no number"
        raise LabError(f"{reason}: write 43.7 or 0.437, say, and leave cells empty where there is none")
    return np.where(np.isfinite(values), values, np.nan)


def _shares(column: np.ndarray, name: str, path: Path) -> np.ndarray:
    shares = column / 100 if column.max() > PERCENT else column
    if shares.min() < 0 or shares.max() > 1 + ROUNDING:
        raise LabError(f"{path} has a {name.replace('_', ' ')} that is neither a share nor in %: see to that column")
    return np.minimum(shares, 1)


def nearest(log: Log, runs: Iterable[Record], count: int = 5) -> list[tuple[float, Record]]:
    """The recorded settings whose accuracies are most like the log's, the nearest first, with the distance in points.

    That is the mean difference over tenths of the training, of test accuracy and, where the log has it, of training
    accuracy. Only runs at least half and at most twice as long are compared, and of a setting its nearest run.
    """
    best: dict[str, tuple[float, Record]] = {}
    for run in comparable(log, runs):
        found = (distance(log, run, log), run)
        best[run.config.fingerprint] = min(found, best.get(run.config.fingerprint, found), key=lambda pair: pair[0])
    return sorted(best.values(), key=lambda pair: pair[0])[:count]


def apart(log: Log, runs: Iterable[Record]) -> list[float]:
    """How far runs of one setting, that differ in their seed alone, are from each other, sorted."""
    pairs = combinations(comparable(log, runs), 2)
    return sorted(distance(a, b, log) for a, b in pairs if a.config.fingerprint == b.config.fingerprint)


def comparable(log: Log, runs: Iterable[Record]) -> list[Record]:
    """Runs evaluated on the test images, at least half and at most twice as long, and not too short to have tenths."""
    long = [run for run in runs if len(run.history) >= TENTHS and run.held_out == "test"]
    return [run for run in long if 0.5 <= len(run.history) / log.epochs <= 2]


def distance(a: HasHistory, b: HasHistory, log: Log) -> float:
    """The mean difference of two runs, in points, in what a log tells."""
    return float(100 * np.abs(_tenths(a, log) - _tenths(b, log)).mean())


def _tenths(run: HasHistory, log: Log) -> np.ndarray:
    """Accuracies [columns, TENTHS] of a run, of the columns that the log has."""
    columns = [name for name in ("test_accuracy", "train_accuracy") if name in log.history[0]]
    curves = [[row[name] for row in run.history] for name in columns]
    return np.array([[part.mean() for part in np.array_split(np.array(curve), TENTHS)] for curve in curves])
