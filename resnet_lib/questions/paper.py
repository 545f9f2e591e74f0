"""Published numbers, each with the place it is printed in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A result on the CIFAR-10 test set, as printed."""

    error: float  # % of the test images
    parameters: float  # millions
    mean: float | None = None  # error in %, where that printed is the best of several runs

    @property
    def accuracy(self) -> float:
        """Test accuracy in %."""
        return round(100 - self.error, 2)


# He et al. 2015 (arXiv 1512.03385), Table 6: 64,000 iterations of batch 128, with augmentation (4-pixel padding, random
# crop, mirror images). ResNet-110 is the best of five runs, whose mean and standard deviation are 6.61 ± 0.16 % error.
TABLE_6 = {
    "resnet20": Published(8.75, 0.27),
    "resnet32": Published(7.51, 0.46),
    "resnet44": Published(7.17, 0.66),
    "resnet56": Published(6.97, 0.85),
    "resnet110": Published(6.43, 1.7, mean=6.61),
}

RESNET_20 = TABLE_6["resnet20"].accuracy

# Test error (%) of ResNet-110 without and with crops and flips (in Huang et al. 2017, arXiv 1608.06993, Table 2).
WITHOUT_AUGMENTATION, WITH_AUGMENTATION = 13.63, 6.41
