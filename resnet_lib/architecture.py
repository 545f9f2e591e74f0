"""What a model's name says."""

from __future__ import annotations

import re
from typing import Literal

IMAGENET_DEPTHS = (18, 26, 34, 50, 101, 152)


class Architecture:
    """A model's name, read: family, depth and shape.

    `resnetD` is the ImageNet shape for D in 18, 34, 50, 101, 152 (He et al. 2015, Table 1) and for 26, a smaller one
    with bottlenecks; for any other D of 6n+2 it is the CIFAR shape (section 4.2). `plainD` is the CIFAR shape without
    shortcuts; `hub-resnetD` is torch.hub's own.

    Raises ValueError for any other name.
    """

    def __init__(self, name: str) -> None:
        match = re.fullmatch(r"(resnet|plain|hub-resnet)([1-9][0-9]{0,3})", name)
        self.family = {"resnet": "resnet", "plain": "plain", "hub-resnet": "hub"}[match[1]] if match else ""
        self.depth = int(match[2]) if match else 0
        is_cifar = 8 <= self.depth <= 2000 and (self.depth - 2) % 6 == 0
        self.shape: Literal["imagenet", "cifar"] = "imagenet" if self.depth in IMAGENET_DEPTHS else "cifar"
        allowed = {
            "resnet": is_cifar or self.shape == "imagenet",
            "plain": is_cifar,
            "hub": self.depth in (18, 34, 50, 101),
            "": False,
        }
        if not allowed[self.family]:
            raise ValueError(
                f"model {name!r} is unknown: use resnet18, 26, 34, 50, 101, 152 (ImageNet shape), resnet20, 32, 44, "
                "56, 110 or any other 6n+2 (CIFAR shape), plain20, plain56, or hub-resnet18, 34, 50, 101"
            )
        if self.family == "plain":
            self.shape = "cifar"

    @property
    def title(self) -> str:
        """`ResNet-20`, `plain-56`, `ResNet-18 (torch.hub)`."""
        name = "plain" if self.family == "plain" else "ResNet"
        return f"{name}-{self.depth}{' (torch.hub)' * (self.family == 'hub')}"
