"""Published numbers, each with the place it is printed in."""

from __future__ import annotations

from dataclasses import dataclass

HE_2015 = "He et al. 2015, arXiv 1512.03385"
WRITE_UP = "the write-up being reproduced"


@dataclass(frozen=True)
class Published:
    """A result on the CIFAR-10 test set, as printed."""

    network: str
    error: float  # % of the test images
    parameters: float  # millions
    table: str
    reference: str
    note: str = ""

    @property
    def accuracy(self) -> float:
        """Test accuracy in %."""
        return round(100 - self.error, 2)


@dataclass(frozen=True)
class Told:
    """A test accuracy that the write-up tells, in whole % as it does."""

    accuracy: float  # %
    reference: str = WRITE_UP


def _row(network: str, error: float, parameters: float, note: str = "") -> Published:
    return Published(network, error, parameters, "Table 6", HE_2015, note)


# With augmentation (4-pixel padding, random crop, mirror images), 64,000 iterations of batch 128.
TABLE_6 = {
    "resnet20": _row("ResNet-20", 8.75, 0.27),
    "resnet32": _row("ResNet-32", 7.51, 0.46),
    "resnet44": _row("ResNet-44", 7.17, 0.66),
    "resnet56": _row("ResNet-56", 6.97, 0.85),
    "resnet110": _row("ResNet-110", 6.43, 1.7, "best of five runs; mean and sd 6.61 ± 0.16 % error"),
}

# Without augmentation; how many runs each stands for is not known.
STORY = {
    "01_ten_epochs": Told(50),
    "02_hundred_epochs": Told(82),
    "03_cifar_architecture": Told(80),
    "04_torch_hub_check": Told(83),
}
