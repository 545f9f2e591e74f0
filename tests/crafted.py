"""Records of runs that never were: what is kept of one, and whole ones for what is said of records."""

from __future__ import annotations

import numpy as np
from matplotlib.text import Text

from resnet_lib.config import Config
from resnet_lib.data import cifar10
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.training.schedule import drops_before, lr_at

IMAGES = 2_000
ROWS = [
    {
        "epoch": n, "step": 4 * n, "lr": 0.1 / 3, "drops": 0, "train_loss": 2.0 / n, "train_accuracy": 1 - 0.6 / n,
        "test_loss": 2.5 / n, "test_accuracy": 1 - 0.7 / n, "seconds": 1.5, "images_per_second": 80.0,
    }
    for n in (1, 2, 3)
]  # fmt: skip
RESULT = {
    "fingerprint": Config().fingerprint, "images": 50, "accuracy": 0.5, "loss": 1.2, "ece": 0.1, "classes": ["a", "b"],
    "per_class_accuracy": [0.5, 0.5], "confusion": [[1, 1], [1, 1]], "model_source": "a test", "data_sha256": "0",
    "training_seconds": 4.5, "commit": "none", "environment": {"device_name": "abacus", "threads": 1, "torch": "2"},
}  # fmt: skip


def thrice(config, right, spread=0.001, high=None):
    """Three seeds that differ by little."""
    return [craft(config, right + luck, seed=seed, high=high) for seed, luck in enumerate((0, spread, -spread))]


def craft(config, right, test_loss=None, profile="full", seed=0, fitted=0.5, high=None, train_loss=None):
    """A record of a run that never was: the first `right` of the images are correct (`high`: until the first drop),
    losses fall steadily unless given, and `fitted` of the training images are correct in every epoch."""
    config = config.replace(seed=seed)
    folder = RunFolder.of(config, profile)
    folder.start()
    losses = np.linspace(2, 1, config.epochs) if test_loss is None else test_loss
    train_losses = 3 / np.arange(1, config.epochs + 1) if train_loss is None else np.resize(train_loss, config.epochs)
    rows = []
    for epoch, (loss, of_train) in enumerate(zip(losses, train_losses, strict=True), 1):
        step = epoch * config.steps_per_epoch
        row = {"epoch": epoch, "step": step, "lr": lr_at(step - 1, config), "drops": drops_before(step - 1, config)}
        row |= {"train_loss": float(of_train), "train_accuracy": fitted, "seconds": 1.0, "images_per_second": 50_000.0}
        seen = right if high is None or row["drops"] else np.resize(high, config.epochs)[epoch - 1].item()
        rows.append(row | {f"{config.held_out}_loss": float(loss), f"{config.held_out}_accuracy": seen})
    labels = (np.arange(IMAGES) % 10).astype(np.uint8)
    predicted = np.where(np.arange(IMAGES) < right * IMAGES, labels, (labels + 1) % 10).astype(np.uint8)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    result = RESULT | {"images": IMAGES, "accuracy": right, "confusion": confusion.tolist()}
    result["classes"] = list(cifar10.CLASSES)
    result["per_class_accuracy"] = (confusion.diagonal() / confusion.sum(axis=1)).tolist()
    predictions = {"predicted": predicted, "label": labels, "confidence": np.ones(IMAGES, np.float16)}
    return folder.finish(rows, result, predictions)


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(Text))
