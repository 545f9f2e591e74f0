"""What a model's name says."""

from __future__ import annotations

import re
from typing import Literal

# Depth -> blocks per stage of the ImageNet shape (He et al. 2015, Table 1), and the depths with bottlenecks. 26 is not
# in the paper: the smallest net of bottlenecks, two a stage.
IMAGENET_BLOCKS = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_DEPTHS = (26, 50, 101, 152)
HUB_DEPTHS = (18, 34, 50, 101)


class Architecture:
    """A model's name, read: family, depth and shape.

    `resnetD` has the ImageNet shape for the depths of Table 1 and for 26, and for any other D of 6n+2 the CIFAR shape
    (section 4.2). `plainD` is the CIFAR shape without shortcuts; `hub-resnetD` is torch.hub's own.

    Raises ValueError for any other name.
    """

    def __init__(self, name: str) -> None:
        match = re.fullmatch(r"(resnet|plain|hub-resnet)([1-9][0-9]{0,3})", name)
        if not match:
            raise _unknown(name)
        self.family: Literal["resnet", "plain", "hub"] = "hub" if match[1] == "hub-resnet" else match[1]
        self.depth = int(match[2])
        is_imagenet = self.depth in IMAGENET_BLOCKS and self.family != "plain"
        self.shape: Literal["imagenet", "cifar"] = "imagenet" if is_imagenet else "cifar"
        is_cifar = 8 <= self.depth <= 2000 and (self.depth - 2) % 6 == 0
        if not (self.depth in HUB_DEPTHS if self.family == "hub" else is_imagenet or is_cifar):
            raise _unknown(name)

    @property
    def usual(self) -> dict[str, str | int]:
        """What networks of this shape have, by the fields of a config, unless that says otherwise."""
        if self.shape == "cifar":
            return {"stem": "cifar", "shortcut": "A", "width": 16}
        return {"stem": "imagenet", "shortcut": "B", "width": 64}

    @property
    def title(self) -> str:
        """`ResNet-20`, `plain-56`, `ResNet-18 (torch.hub)`."""
        name = f"{'plain' if self.family == 'plain' else 'ResNet'}-{self.depth}"
        return f"{name} (torch.hub)" if self.family == "hub" else name


def _unknown(name: str) -> ValueError:
    return ValueError(
        f"model {name!r} is unknown: use resnet18, 26, 34, 50, 101, 152 (ImageNet shape), resnet20, 32, 44, 56, 110 or "
        "any other 6n+2 (CIFAR shape), plain20, plain56, or hub-resnet18, 34, 50, 101"
    )
