"""The state of a run: saved atomically, the one before kept too, verified before it is believed."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from resnet_lib.errors import LabError
from resnet_lib.machine.device import DeviceError, out_of_memory
from resnet_lib.machine.files import write_atomic
from resnet_lib.records.record import CHECKPOINT

MAGIC = b"resnet-lab checkpoint 2\n"
DIGEST_BYTES = hashlib.sha256().digest_size


class CheckpointError(LabError):
    """A checkpoint is damaged or of another kind; the message names the file."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Put `state` (tensors and plain values), preceded by its SHA-256, at `path`; what was there is kept beside it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()  # no copy: it is large, and every run beside this one has its own
    write_atomic(path, MAGIC, hashlib.sha256(payload).digest(), payload, keep=before(path))


def remove(path: Path) -> None:
    """Delete what is kept at `path`."""
    for kept in (path, before(path)):
        kept.unlink(missing_ok=True)


def before(path: Path) -> Path:
    """Where the state before the one at `path` is kept."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


def in_folder(folder: Path) -> list[Path]:
    """What a run's folder has of its state, the newest first."""
    newest = folder / CHECKPOINT
    return [path for path in (newest, before(newest)) if path.exists()]


def newest(path: Path, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """The last whole state of those kept at `path`; None if none was ever saved.

    `tell` hears of a damaged one, which is removed where the one before it is whole. Raises CheckpointError if all that
    are there are damaged.
    """
    damaged = ""
    for kept in (path, before(path)):
        try:
            state = load(kept)
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            damaged = damaged or str(error)
            continue
        if damaged:
            tell(f"{damaged}: going on from the state before it")
            path.unlink()  # or the next save would put it in the place of the whole one
        return state
    if damaged:
        raise CheckpointError(f"{damaged}, and there is no whole one before it: delete both to train from the start")
    return None


def is_one(path: Path) -> bool:
    """Whether a file begins as a checkpoint does, whole or not."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def load(path: Path) -> dict[str, Any]:
    """The state saved at `path`, on the CPU. Nothing in it is executed: tensors and plain values only.

    Raises CheckpointError if it is not a checkpoint of this lab or differs from what was saved, DeviceError for a lack
    of memory, which tells nothing of the file.
    """
    try:
        content = path.read_bytes()
        digest, payload = content[len(MAGIC) : len(MAGIC) + DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
        if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
            raise CheckpointError(f"{path} is not a whole checkpoint of this lab")
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (CheckpointError, OSError):
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than tensors and plain values: do not trust it") from error
    except Exception as error:  # whole, but written by something else: torch can raise almost anything
        if out_of_memory(error):
            raise DeviceError(f"too little memory to read {path}, which is as it was: free some, then go on") from error
        raise CheckpointError(f"{path} is not a checkpoint of this lab ({error})") from error
