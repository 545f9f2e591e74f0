"""Weights that runs ended with: kept as safetensors, with their config inside, and evaluated again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from resnet_lib.config import Config, ConfigError
from resnet_lib.data import cifar10
from resnet_lib.machine.device import Choice, refuse_other_dtype
from resnet_lib.machine.files import write_atomic
from resnet_lib.models.build import build_model, place
from resnet_lib.records import checkpoint
from resnet_lib.records.checkpoint import CheckpointError
from resnet_lib.training import train
from resnet_lib.training.loader import EvaluationBatches, Normalizer

NAME = "weights.safetensors"  # in a run's folder


def write(path: Path, state: dict[str, Tensor], config: Config) -> None:
    """Save the weights that a run ended with, by name, and of which run they are."""
    state = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
    write_atomic(path, save(state, {"config": config.model_dump_json(), "sha256": _digest(state)}))


def belong_to(config: Config, path: Path) -> bool:
    """Whether weights say that this run ended with them. Raises CheckpointError as `config_of` does."""
    inside = config_of(path)
    return inside is not None and inside.run_id == config.run_id


def _digest(state: dict[str, Tensor]) -> str:
    """SHA-256 of the tensors, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(state[name].contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def config_of(path: Path) -> Config | None:
    """The config that the weights in a safetensors file or a checkpoint were trained with, if it tells.

    Raises CheckpointError for a file that is neither.
    """
    is_final = path.suffix == ".safetensors"
    stored = (_metadata(path) if is_final else checkpoint.load(path)).get("config")
    try:
        return Config(**(json.loads(stored) if is_final else stored)) if stored else None
    except (TypeError, ValueError, RecursionError, ConfigError) as error:
        raise CheckpointError(f"{path} holds a config that is none ({error}): add --model") from None


def load(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of a safetensors file or of a checkpoint; neither can execute anything.

    `network.load_state_dict(load(record.path / NAME))` gives what a run ended with.

    Raises CheckpointError for a file that is neither, or differs from what was saved.
    """
    if path.suffix == ".safetensors":
        told, state = _metadata(path).get("sha256"), load_file(path)
        if told not in (None, _digest(state)):
            raise CheckpointError(f"{path} is not as it was saved: delete it")
        return state
    return checkpoint.load(path)["model"]


def evaluate(config: Config, path: Path, choice: Choice) -> dict[str, Any]:
    """Metrics of saved weights on the held-out images of `config`.

    Raises CheckpointError for a file that holds no weights, or those of another network, and DeviceError as `run`.
    """
    refuse_other_dtype()
    state = load(path)
    with torch.device("meta"):  # a small file may name a network of any size
        model, _ = build_model(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = shorten(str(error).partition("\n")[2], 120, placeholder=" ...")  # which may name hundreds of tensors
        help_ = "name their network by --model, and --set stem=... where its stem is another"
        if state and all(name.startswith("module.") for name in state):
            help_ = "take `module.`, which DataParallel puts before all names, from them"
        raise CheckpointError(f"{path} does not fit {config.model}: {help_} ({reason})") from None
    dataset = cifar10.load(config)
    device = choice.activate(config.precision)
    model = place(model.float(), choice)
    normalize = Normalizer(dataset.train_images, config.normalize, device)
    batches = EvaluationBatches(dataset.test_images, dataset.test_labels, normalize, device, choice.memory_format)
    return train.evaluate(model, batches, config).summary(dataset.classes)


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from None
