"""The state of an unfinished run: saved atomically, verified before it is believed."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from resnet_lib.config import LabError
from resnet_lib.files import write_atomic

MAGIC = b"resnet-lab checkpoint 1\n"
DIGEST_BYTES = hashlib.sha256().digest_size


class CheckpointError(LabError):
    """A checkpoint is damaged or of another kind; the message names the file and what to do."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Replace `path` by `state` (tensors and plain values), preceded by its SHA-256."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    write_atomic(path, MAGIC + hashlib.sha256(payload).digest() + payload)


def load(path: Path) -> dict[str, Any]:
    """The state saved at `path`, on the CPU. Nothing in it is executed: tensors and plain values only.

    Raises CheckpointError if it is not a checkpoint of this lab or differs from what was saved.
    """
    content = path.read_bytes()
    digest, payload = content[len(MAGIC) :][:DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
    if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        raise CheckpointError(f"{path} is not a whole checkpoint of this lab")
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than tensors and plain values: do not trust it") from error
