"""What training and evaluation see: totals that run on the device, read once per epoch, and logits as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_lib.records.scores import calibration_error, confusion


class RunningTotals:
    """Loss and top-1 accuracy summed over batches on the device; only to read them waits for it."""

    def __init__(self, device: torch.device) -> None:
        dtype = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.loss = torch.zeros((), dtype=dtype, device=device)
        self.correct, self.count, self.finite = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(3))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that is counted; written in place alone, for a captured graph goes on writing to the same memory."""
        return {"loss": self.loss, "correct": self.correct, "count": self.count, "finite": self.finite}

    def reset(self) -> None:
        for total in self.tensors.values():
            total.zero_()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss (scalar), logits [N, C] and labels [N]."""
        self.loss.add_(loss.detach().to(self.loss.dtype) * len(labels))
        self.correct.add_((logits.detach().argmax(1) == labels).sum())
        self.count.add_(len(labels))
        self.finite.add_(torch.isfinite(self.loss))  # batches before the first bad one: from there the sum stays bad

    def read(self) -> tuple[float, float]:
        """Mean loss (nats) and accuracy (0 to 1) over all images added."""
        return self.loss.item() / self.count.item(), self.correct.item() / self.count.item()


@dataclass(frozen=True)
class Evaluation:
    """What a model said of a set of images, and what follows from it. Accuracies and ECE lie in 0 to 1."""

    loss: float  # mean cross-entropy, nats
    predicted: np.ndarray  # uint8 [N]
    confidence: np.ndarray  # float16 [N], the softmax probability of the predicted class
    labels: np.ndarray  # int64 [N]
    num_classes: int
    ece: float

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.labels).mean())

    @property
    def confusion(self) -> np.ndarray:
        return confusion(self.labels, self.predicted, self.num_classes)

    @property
    def per_class_accuracy(self) -> list[float]:
        matrix = self.confusion
        return (matrix.diagonal() / np.maximum(1, matrix.sum(1))).tolist()

    def summary(self, classes: Sequence[str]) -> dict[str, Any]:
        """The metrics, as they stand in a record."""
        return {
            "images": len(self.labels),
            "accuracy": self.accuracy,
            "loss": self.loss,
            "ece": self.ece,
            "classes": list(classes),
            "per_class_accuracy": self.per_class_accuracy,
            "confusion": self.confusion.tolist(),
        }


def evaluate_logits(logits: Tensor, labels: Tensor) -> Evaluation:
    """Evaluation of logits [N, C] against labels [N]; computed in float32 whatever the model's precision was."""
    logits = logits.float()
    confidence, predicted = logits.softmax(1).max(1)
    correct = predicted == labels
    return Evaluation(
        loss=F.cross_entropy(logits, labels).item(),
        predicted=predicted.cpu().numpy().astype(np.uint8),
        confidence=confidence.cpu().numpy().astype(np.float16),
        labels=labels.cpu().numpy(),
        num_classes=logits.shape[1],
        ece=calibration_error(confidence.cpu().numpy(), correct.cpu().numpy()),
    )
