"""What a run trains on and is evaluated on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """The arrays of one run. `test_*` is what it evaluates on: for train45k, the held-out images."""

    train_images: np.ndarray  # uint8 [N, 3, 32, 32]
    train_labels: np.ndarray  # int64 [N]
    test_images: np.ndarray  # uint8 [M, 3, 32, 32]
    test_labels: np.ndarray  # int64 [M]
    classes: tuple[str, ...]
    sha256: str  # of CIFAR-10 as a whole, before split and subset; of synthetic images, those drawn
    source: str  # where it came from, in words
