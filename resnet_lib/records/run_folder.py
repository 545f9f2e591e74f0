"""A run's folder while it comes into being: written atomically, held by one process at a time."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from resnet_lib.config import Config
from resnet_lib.machine.files import remove_litter, sha256, try_lock, write_atomic
from resnet_lib.records.find import runs_folder
from resnet_lib.records.record import (
    CHECKPOINT,
    DIVERGED,
    HASHED,
    Diverged,
    Record,
    RecordError,
    Row,
    read_config,
    read_diverged,
    read_history,
    read_record,
)

LOCK = "lock"
PATIENCE = 5  # tenths of a second to wait for a lock
LOST_HISTORY = "history-lost.csv"


class RunFolder:
    """Writes a run's record as it comes into being."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.checkpoint = path / CHECKPOINT

    @classmethod
    def of(cls, config: Config, profile: str) -> RunFolder:
        return cls(runs_folder(profile) / config.run_id, config)

    @property
    def finished(self) -> bool:
        return (self.path / "result.json").exists()

    @property
    def is_open(self) -> bool:
        """Neither finished nor diverged: there is something to train."""
        return not self.finished and read_diverged(self.path) is None

    def record(self) -> Record:
        """What is recorded, under this config: the one that trained it may differ in what changes nothing in the run.

        Raises RecordError if the folder holds the record of another run, or none.
        """
        found = read_record(self.path)
        self.refuse_other(found.config, self.path)
        return replace(found, config=self.config)

    def start(self) -> None:
        """Make the folder and write the config, unless both are there; remove what a killed process left.

        Raises RecordError if the folder holds another config.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        remove_litter(self.path)
        path = self.path / "config.json"
        if path.exists():
            self.refuse_other(read_config(path), path)
        else:
            _write_json(path, self.config.model_dump(mode="json"))

    def refuse_other(self, found: Config, path: Path) -> None:
        """Raises RecordError, naming the fields that differ, if the config `found` in `path` is not this run's."""
        if found.run_id == self.config.run_id:  # fields that do not matter may differ
            return
        pairs = zip(self.config, found, strict=True)
        differing = [f"{name} {theirs!r}, not {ours!r}" for (name, ours), (_, theirs) in pairs if ours != theirs]
        raise RecordError(f"{path} belongs to another run, with {'; '.join(differing)}: move it away")

    def rows(self) -> list[Row]:
        """The history so far."""
        path = self.path / "history.csv"
        return read_history(path) if path.exists() else []

    def write_history(self, rows: list[Row]) -> None:
        write_atomic(self.path / "history.csv", _csv_text(rows).encode())

    def set_history_aside(self) -> Path | None:
        """Keep, until it is finished, the history of a run whose state is gone: where it is now; None without one."""
        path = self.path / "history.csv"
        if not path.exists() or not path.stat().st_size:
            return None
        return path.replace(self.path / LOST_HISTORY)

    def mark_diverged(self, details: dict[str, Any]) -> None:
        _write_json(self.path / DIVERGED, details)

    def refuse_diverged(self) -> None:
        """Raises Diverged if this run did before: the same config would only do so again."""
        if (found := read_diverged(self.path)) is not None:
            raise Diverged(f"{self.path.name} diverged at {found}; delete {self.path} to try once more")

    def refuse_lost(self) -> None:
        """Raises RecordError if this run was finished and has lost its result: it would be trained anew.

        Predictions are written at the end alone, and what a run goes on from is deleted once the result stands.
        """
        goes_on = any(self.path.glob("checkpoint*.pt"))
        if (self.path / "predictions.npz").exists() and not (self.finished or goes_on):
            raise RecordError(f"{self.path} has lost its result.json: restore it, or delete the folder")

    def finish(self, history: list[Row], result: dict[str, Any], predictions: dict[str, np.ndarray]) -> Record:
        """Write history and predictions, then the result, whose presence marks the run as finished.

        The result holds the SHA-256 of both.
        """
        self.write_history(history)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **predictions)
        write_atomic(self.path / "predictions.npz", buffer.getvalue())
        _write_json(self.path / "result.json", result | {"files": {name: sha256(self.path / name) for name in HASHED}})
        (self.path / LOST_HISTORY).unlink(missing_ok=True)  # of no use beside a finished record
        return self.record()

    @property
    def is_held(self) -> bool:
        """Whether a process is training it now; where the file system has no locks, nobody knows: no."""
        try:
            with (self.path / LOCK).open("r+") as file:
                return not try_lock(file.fileno())  # ours until the file is closed
        except OSError:
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against other processes; released by the system even if this one is killed.

        Raises RecordError if another process trains here, or the file system has no locks.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a+") as file:
            try:
                is_ours, tries = try_lock(file.fileno()), PATIENCE
                while not is_ours and tries:  # somebody may only have looked whether it is held
                    time.sleep(0.1)
                    is_ours, tries = try_lock(file.fileno()), tries - 1
            except OSError as error:
                reason = f"{self.path} cannot be locked ({error})"
                raise RecordError(f"{reason}: set RESNET_LAB_REPORTS to a folder on another disk") from None
            if not is_ours:
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise RecordError(f"{self.path} is being trained by {owner}: wait for it, or end it")
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}, since {datetime.now():%Y-%m-%d %H:%M}\n")
            file.flush()
            yield


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _csv_text(rows: list[Row]) -> str:
    if not rows:
        return ""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
