"""A run on disk: the only truth about what was measured.

<reports>/<profile>/runs/<run id>/
    config.json       the whole Config
    history.csv       one row per epoch, written anew as it ends
    result.json       final metrics, data hash, environment, hashes of the others; its presence means: finished
    predictions.npz   class (uint8), confidence (float16) and label (uint8) of every evaluated image
    weights.safetensors
                      what the network ended with; a record stands without it
    diverged.json     instead of the last three: where a loss became no number
    checkpoint.pt     until it is finished: what it goes on from, and checkpoint-before.pt, in case that is damaged
    history-lost.csv  until it is finished: what was recorded before somebody deleted the checkpoint
    lock              held by the process that trains it
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from resnet_lib.config import Config, ConfigError
from resnet_lib.errors import LabError
from resnet_lib.machine.files import read_json
from resnet_lib.records.result import RESULT, Result

Row = dict[str, float]

CHECKPOINT = "checkpoint.pt"  # in the folder of an unfinished run: what it goes on from
DIVERGED = "diverged.json"
HASHED = ("history.csv", "predictions.npz")  # whose SHA-256 stands in the result
LARGEST, HEADER = 8, 4096  # bytes of a number in predictions.npz, and of what NumPy may say of an array


class RecordError(LabError):
    """A run's folder cannot be used; the message names the file and what to do."""


class Diverged(LabError):
    """A loss is no longer a number; the message says where and what to do, `details` the same for the record."""

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = details or {}


# Of history.csv, a row per epoch, with test_loss and test_accuracy (or val_loss and val_accuracy) after it. Losses are
# in nats, accuracies lie in 0 to 1; those of training are means over the epoch, of the images as they were trained on,
# and include label smoothing. `epoch` and `step` count from 1, `lr` and `drops` are those of the epoch's last step.
# `seconds` are of training and evaluation, as is `training_seconds` in result.json; `images_per_second` of training.
COLUMNS = ("epoch", "step", "lr", "drops", "train_loss", "train_accuracy", "seconds", "images_per_second")


@dataclass(frozen=True)
class Record:
    """A finished run, read."""

    path: Path
    config: Config
    history: list[Row]
    result: Result

    @property
    def held_out(self) -> str:
        """`test` or `val`: the images that it was evaluated on."""
        return self.config.held_out

    @property
    def accuracy(self) -> float:
        """Held-out accuracy (0 to 1) at the last epoch."""
        return self.result["accuracy"]

    @property
    def trained_in(self) -> list[dict[str, Any]]:
        """The sessions that trained it, and did not only end it, in order."""
        end = self.history[-1]["step"]
        return [one for one in self.result.get("sessions", [{}]) if one.get("from_step", 0) < end]

    @property
    def seconds_by_device(self) -> dict[str, float]:
        """Of training and evaluation on each device, in the order in which a run that went on elsewhere came to them.

        An epoch is counted where it ended.
        """
        only = self.result["environment"]["device_name"]  # of a session that names none
        found = dict.fromkeys((session.get("device_name", only) for session in self.trained_in), 0.0)
        for row in self.history:
            *_, last = (one for one in self.trained_in if one.get("from_step", 0) < row["step"])
            found[last.get("device_name", only)] += row["seconds"]
        return found

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Arrays `predicted`, `confidence` and `label`, one entry per evaluated image."""
        path = self.path / "predictions.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if any(member.file_size > LARGEST * self.result["images"] + HEADER for member in arrays.zip.filelist):
                    raise ValueError("more than one number for an image")  # before gigabytes are unpacked
                found = {name: arrays[name] for name in ("predicted", "confidence", "label")}
        except Exception as error:  # a damaged archive can make NumPy raise almost anything
            raise RecordError(f"{path} cannot be read ({error}): restore it, or delete its folder") from error
        kinds = {name: array.dtype.kind for name, array in found.items()}
        shapes = {array.shape for array in found.values()}
        if shapes != {(self.result["images"],)} or kinds != {"predicted": "u", "confidence": "f", "label": "u"}:
            raise RecordError(f"{path} does not match the result's number of images: restore it, or delete its folder")
        return found

    @property
    def correct(self) -> np.ndarray:
        """bool [N]: which evaluated images were classified correctly."""
        return self.predictions["predicted"] == self.predictions["label"]


def read_diverged(path: Path) -> str | None:
    """Where the run in `path` diverged, in words; None if it did not, as far as anything tells."""
    try:
        details = read_json(path / DIVERGED)
        return f"step {details['step']:,} (lr {details['lr']:g})"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path / DIVERGED} cannot be read ({error}): delete the folder to try again") from error


def read_record(path: Path) -> Record:
    """Read a finished run. Raises RecordError if a file of it is missing or does not hold what it should."""
    try:
        result = RESULT.validate_json((path / "result.json").read_bytes())
        config = read_config(path / "config.json")
        history = read_history(path / "history.csv")
        columns = {*COLUMNS, f"{config.held_out}_loss", f"{config.held_out}_accuracy"}
        if not history or any(row.keys() != columns for row in history):
            raise ValueError(f"history.csv must have the columns {', '.join(sorted(columns))} in every row")
        if result.get("sessions", [{"from_step": 0}])[0]["from_step"] >= history[0]["step"]:
            raise ValueError("result.json: its first session begins after the first epoch")
        classes = len(result["classes"])
        if {classes} != {len(row) for row in (result["per_class_accuracy"], result["confusion"], *result["confusion"])}:
            raise ValueError(f"result.json: per_class_accuracy and confusion are not of {classes} classes")
        return Record(path, config, history, result)
    except (OSError, ValueError, LabError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"result.json: {'.'.join(map(str, first['loc']))} {first['msg']}" if first else error
        raise RecordError(f"the record in {path} cannot be read ({reason}): restore it, or delete the folder") from None


def read_config(path: Path) -> Config:
    """Raises ConfigError for a file that does not hold a valid config."""
    try:
        return Config(**read_json(path))
    except (TypeError, ValueError, ConfigError) as error:
        raise ConfigError(f"{path} does not hold a config: {error}") from None


def read_history(path: Path) -> list[Row]:
    """The rows of a history; a last line that is torn, as in a copy, and has no end, is left out.

    Raises ValueError for a file that is no history.
    """
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    rows = []
    try:
        for row in csv.DictReader(whole):
            values = {name: float(value) for name, value in row.items() if value}
            rows.append({name: int(v) if name in ("epoch", "step", "drops") else v for name, v in values.items()})
    except (TypeError, ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path.name}, row {len(rows) + 1}: {error}") from None
    return rows
