"""A run on disk: the only truth about what was measured.

<reports>/<profile>/runs/<run id>/
    config.json       the whole Config
    history.csv       a row an epoch, appended as it ends
    result.json       final metrics, data hash, environment; its presence means: finished
    predictions.npz   class (uint8), confidence (float16) and label (uint8) of every evaluated image
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from resnet_lib.config import Config, ConfigError, LabError
from resnet_lib.files import try_lock, write_atomic

Row = dict[str, float]


class RecordError(LabError):
    """A run's folder cannot be used; the message names the file and what to do."""


def reports_folder() -> Path:
    """Where records and reports live: `RESNET_LAB_REPORTS`, else `reports/` of the checkout, else of this folder."""
    if chosen := os.environ.get("RESNET_LAB_REPORTS"):
        return Path(chosen).expanduser().resolve()
    checkout = Path(__file__).resolve().parent.parent
    return (checkout if (checkout / "notebooks").is_dir() else Path.cwd()) / "reports"


def runs_folder(profile: str) -> Path:
    return reports_folder() / profile / "runs"


@dataclass(frozen=True)
class Record:
    """A finished run, read."""

    path: Path
    config: Config
    history: list[Row]
    result: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Held-out accuracy (0 to 1) at the last epoch."""
        return self.result["accuracy"]

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Arrays `predicted`, `confidence` and `label`, one entry an evaluated image."""
        with np.load(self.path / "predictions.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    @property
    def correct(self) -> np.ndarray:
        """bool [N]: which evaluated images were classified correctly."""
        return self.predictions["predicted"] == self.predictions["label"]


Runs = dict[str, list[Record]]  # label -> one record a seed; an empty list: not yet run


class RunFolder:
    """Writes a run's record as it comes into being."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.checkpoint = path / "checkpoint.pt"

    @classmethod
    def of(cls, config: Config, profile: str) -> RunFolder:
        return cls(runs_folder(profile) / config.run_id, config)

    @property
    def finished(self) -> bool:
        return (self.path / "result.json").exists()

    def record(self) -> Record:
        return read_record(self.path)

    def start(self) -> None:
        """Make the folder and write the config, unless both are there.

        Raises RecordError if the folder holds another config.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / "config.json"
        if path.exists():
            if read_config(path).run_id != self.config.run_id:
                raise RecordError(f"{path} describes another run than its folder's name: move the folder away")
        else:
            write_json(path, self.config.model_dump(mode="json"))

    def rows(self) -> list[Row]:
        """The history so far."""
        path = self.path / "history.csv"
        return read_history(path) if path.exists() else []

    def trim(self, epochs: int) -> None:
        """Keep the rows of the first `epochs` epochs: later ones, or a torn last line, are not in the checkpoint.

        Raises RecordError if there are fewer.
        """
        path = self.path / "history.csv"
        rows = self.rows()[:epochs]
        if len(rows) < epochs:
            raise RecordError(f"{path} has {len(rows)} rows, the checkpoint {epochs}: delete {self.checkpoint}")
        write_atomic(path, _csv_text(rows).encode())

    def append(self, row: Row) -> None:
        """Add one epoch to the history, on disk before it returns."""
        path = self.path / "history.csv"
        text = _csv_text([row])
        is_new = not path.exists() or path.stat().st_size == 0
        with path.open("a", newline="") as file:
            file.write(text if is_new else text.partition("\n")[2])
            file.flush()
            os.fsync(file.fileno())

    def finish(self, result: dict[str, Any], predictions: dict[str, np.ndarray]) -> Record:
        """Write predictions, then the result, whose presence marks the run as finished."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **predictions)
        write_atomic(self.path / "predictions.npz", buffer.getvalue())
        write_json(self.path / "result.json", result)
        return self.record()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against other processes; released by the system even if this one is killed.

        Raises RecordError if another process trains here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            if not try_lock(file.fileno()):
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise RecordError(f"{self.path} is being trained by process {owner}: wait for it, or end it")
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


def find_runs(configs: dict[str, Config], profile: str) -> Runs:
    """The finished runs of full-size `configs` at a profile's size, by label."""
    return {label: find_seeds(config.at(profile), profile) for label, config in configs.items()}


def find_seeds(config: Config, profile: str) -> list[Record]:
    """Every finished run of `config`, whatever its seed, in the order of the seeds."""
    found = runs_folder(profile).glob(f"*-{config.fingerprint}/result.json")
    return sorted((read_record(path.parent) for path in found), key=lambda record: record.config.seed)


def read_record(path: Path) -> Record:
    """Read a finished run. Raises RecordError if a file of it is missing or cannot be read."""
    try:
        result = json.loads((path / "result.json").read_text())
        return Record(path, read_config(path / "config.json"), read_history(path / "history.csv"), result)
    except (OSError, ValueError, LabError) as error:
        raise RecordError(f"the record in {path} cannot be read ({error}): restore it, or delete the folder") from error


def read_config(path: Path) -> Config:
    """Raises ConfigError for a file that does not hold a valid config."""
    try:
        return Config(**json.loads(path.read_text()))
    except (TypeError, ValueError, ConfigError) as error:
        raise ConfigError(f"{path} does not hold a config: {error}") from None


def read_history(path: Path) -> list[Row]:
    """The rows of a history; a last line torn by a crash (short, or without its end) is left out."""
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    rows = []
    for row in csv.DictReader(whole):
        values = {name: float(value) for name, value in row.items() if value}
        rows.append({name: int(v) if name in ("epoch", "step", "drops") else v for name, v in values.items()})
    return rows


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _csv_text(rows: list[Row]) -> str:
    if not rows:
        return ""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
