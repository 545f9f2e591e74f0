"""What there is of every run, and whether it is what it says it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine.files import sha256
from resnet_lib.records import checkpoint
from resnet_lib.records.find import runs_folder
from resnet_lib.records.record import HASHED, Record, read_config, read_diverged, read_record
from resnet_lib.records.run_folder import LOCK, RunFolder
from resnet_lib.records.scores import calibration_bins, calibration_error, confusion
from resnet_lib.runs import weights

ROUNDING = 1e-6  # of a float that went through JSON or a sum in another order
ECE_ROUNDING = 0.005  # of confidences, which are kept in half precision


@dataclass(frozen=True)
class Entry:
    """One run's folder."""

    path: Path
    state: str  # finished, running, unfinished, diverged or damaged
    detail: str
    config: Config | None = None
    record: Record | None = None  # of a finished one


def entries(profile: str) -> list[Entry]:
    """Every run of a profile, by name."""
    folder = runs_folder(profile)
    return [entry(path) for path in sorted(folder.iterdir()) if _is_begun(path)] if folder.exists() else []


def _is_begun(path: Path) -> bool:
    """Whether it is a run's folder in which something was saved, and not a tool's, or one that was only locked."""
    try:
        return path.is_dir() and path.name[0] != "." and any(name != LOCK for name in os.listdir(path))
    except FileNotFoundError:  # somebody deleted it just now
        return False
    except OSError:  # `entry` tells what is wrong
        return True


def entry(path: Path) -> Entry:
    try:
        config = read_config(path / "config.json")
        if path.name != config.run_id:
            return Entry(path, "damaged", f"its config belongs to {config.run_id}: rename or delete the folder")
        if (path / "result.json").exists():
            record = read_record(path)
            return Entry(path, "finished", f"{config.held_out} accuracy {100 * record.accuracy:.2f} %", config, record)
        folder = RunFolder(path, config)
        folder.refuse_lost()
        done = len(folder.rows())
        if where := read_diverged(path):
            return Entry(path, "diverged", f"at {where}", config)
        state = "running" if folder.is_held else "unfinished"
        return Entry(path, state, f"{done} of {config.total_epochs} epochs", config)
    except FileNotFoundError as error:
        gone = Path(error.filename or "a file").name
        return Entry(path, "damaged", f"{gone} is missing: restore it, or delete the folder if nothing runs there")
    except (LabError, OSError, ValueError) as error:
        return Entry(path, "damaged", str(error))


def problems(found: Entry) -> list[str]:
    """What in a run's folder is not as it was written, or does not agree with the rest of it: empty if all is well."""
    path, wrong = found.path, []
    if found.config is None:
        return [found.detail]
    for file in checkpoint.in_folder(path):
        try:
            checkpoint.load(file)
        except FileNotFoundError:  # the run beside this was finished meanwhile
            continue
        except (LabError, OSError) as error:
            wrong.append(str(error))
    kept = path / weights.NAME
    try:
        if kept.exists():
            weights.load(kept)
            if not weights.belong_to(found.config, kept):
                wrong.append(f"{kept.name} belongs to another run")
    except (LabError, OSError) as error:
        wrong.append(str(error))
    if found.record:
        try:
            wrong += _disagreements(found.record)
        except (LabError, OSError) as error:
            wrong.append(str(error))
    return wrong


def _disagreements(record: Record) -> list[str]:
    """Where a record's files do not tell the same: each number is computed anew from what lies below it."""
    result, config, history = record.result, record.config, record.history
    predictions, last, names = record.predictions, record.history[-1], len(result["classes"])
    predicted, labels = predictions["predicted"], predictions["label"]
    if max(predicted.max(), labels.max()) >= names:
        return ["predictions.npz has classes that the result does not name"]
    matrix = confusion(labels, predicted, names)
    with np.errstate(all="ignore"):  # of confidences that are none
        ece = calibration_error(predictions["confidence"], record.correct)
        edges = _at_edges(predictions["confidence"], record.correct)
    checks = {
        "fingerprint": result["fingerprint"] == config.fingerprint,
        "accuracy": _same(result["accuracy"], record.correct.mean()),
        "accuracy and the history's last row": _same(result["accuracy"], last[f"{config.held_out}_accuracy"]),
        "loss and the history's last row": _same(result["loss"], last[f"{config.held_out}_loss"]),
        "confusion": result["confusion"] == matrix.tolist(),
        "per_class_accuracy": _same(result["per_class_accuracy"], matrix.diagonal() / np.maximum(matrix.sum(1), 1)),
        "ece": abs(result["ece"] - ece) < ECE_ROUNDING + edges,
        "training_seconds": abs(result["training_seconds"] - sum(row["seconds"] for row in history)) < 0.1,
        "the history's length": last["step"] == config.total_steps,
        "images": result["images"] == config.test_size,
        "evaluated_on": result.get("evaluated_on", config.held_out) == config.held_out,
        "the history's epochs": [row["epoch"] for row in history] == list(range(1, len(history) + 1)),
    }
    wrong = [f"{what} does not agree" for what, agrees in checks.items() if not agrees]
    files = result.get("files", {})
    wrong += [
        f"{name} is not the file that was written"
        for name in HASHED
        if name in files and sha256(record.path / name) != files[name]
    ]
    return wrong


def _at_edges(confidence: np.ndarray, correct: np.ndarray) -> float:
    """How much the calibration error may change by confidences [N] that rounding took to the other side of a bin."""
    below, above = (calibration_bins(np.nextafter(confidence, np.float16(edge))) for edge in (0, 1))
    return 2 * np.abs(correct - confidence.astype(float))[below != above].sum() / len(confidence)


def _same(one: object, other: object) -> bool:
    return np.shape(one) == np.shape(other) and bool(np.allclose(one, other, rtol=0, atol=ROUNDING))
