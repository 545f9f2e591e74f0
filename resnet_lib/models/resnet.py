"""Residual networks of He et al. 2015 (arXiv 1512.03385): one class, two shapes.

ImageNet shape (Table 1): 7x7 stem with stride 2 and max-pool, four stages, basic blocks (18, 34) or bottlenecks.
CIFAR shape (section 4.2): 3x3 stem, three stages of n basic blocks, 6n+2 layers, filters 16, 32, 64.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lib.architecture import BOTTLENECK_DEPTHS, IMAGENET_BLOCKS
from resnet_lib.config import Config

Shortcut = Literal["A", "B", "none"]


class PadShortcut(nn.Module):
    """Option A: subsample and zero-pad the channels; no parameters. [N, C, H, W] -> [N, C', H/stride, W/stride].

    The mean of one pixel is x[:, :, ::stride, ::stride]. As a slice its gradient would be NCHW whatever x is, and to
    mix that with channels_last took a tenth of a step of ResNet-20 on a CPU.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.extra = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 1, self.stride)
        return F.pad(x, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))


def shortcut(option: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """The path around a block: identity where shapes agree, else option A or B; None for a plain network."""
    if option == "none":
        return None
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return PadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def add_and_relu(out: Tensor, x: Tensor, path: nn.Module | None) -> Tensor:
    """ReLU of the residual [N, C, H, W] plus the shortcut of `x`, in place.

    Nothing reads batch norm's output again, and on a CPU such steps take as long as memory takes to be written.
    """
    if path is not None:
        out += path(x)
    return F.relu(out, inplace=True)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (Fig. 5, left); the first one strides. [N, C, H, W] -> [N, channels, H/stride, W/stride]."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, option: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = shortcut(option, in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return add_and_relu(out, x, self.shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions (Fig. 5, right).

    [N, C, H, W] -> [N, 4 * channels, H/stride, W/stride]. The 3x3 one strides, as in torchvision and fb.resnet.torch;
    the paper strides in the first 1x1.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, option: Shortcut) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(option, in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        return add_and_relu(out, x, self.shortcut)


def stem(kind: Literal["cifar", "imagenet"], width: int) -> nn.Sequential:
    """First layers: [N, 3, H, W] -> [N, width, H, W] (cifar) or [N, width, H/4, W/4] (imagenet)."""
    if kind == "cifar":
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
    return nn.Sequential(
        nn.Conv2d(3, width, 7, 2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
    )


class ResNet(nn.Module):
    """Stem, stages of blocks whose filters double as the map halves, global average pool, linear layer.

    Takes images [N, 3, H, W], returns logits [N, num_classes].
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, ...],
        width: int,
        stem_kind: Literal["cifar", "imagenet"],
        option: Shortcut,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.stem = stem(stem_kind, width)
        stages, in_channels = [], width
        for stage, count in enumerate(blocks):
            channels = width * 2**stage
            layers = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(block(in_channels, channels, stride, option))
                in_channels = channels * block.expansion
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        return self.fc(F.avg_pool2d(x, x.shape[-2:]).flatten(1))  # the gradient of x.mean() would be NCHW, too


def initialize_he(model: nn.Module) -> None:
    """He-normal weights of all convolutions (He et al. 2015b, arXiv 1502.01852, fan-out as in fb.resnet.torch)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build(config: Config, num_classes: int = 10) -> ResNet:
    """The network of a config, unless it is torch.hub's; initialised from `torch`'s current random state."""
    arch = config.architecture
    if arch.shape == "cifar":
        block, blocks = BasicBlock, ((arch.depth - 2) // 6,) * 3
    else:
        block = Bottleneck if arch.depth in BOTTLENECK_DEPTHS else BasicBlock
        blocks = IMAGENET_BLOCKS[arch.depth]
    chosen = {name: getattr(config, name) or usual for name, usual in arch.usual.items()}
    model = ResNet(
        block,
        blocks,
        width=chosen["width"],
        stem_kind=chosen["stem"],
        option="none" if arch.family == "plain" else chosen["shortcut"],
        num_classes=num_classes,
    )
    if config.init != "torch":
        initialize_he(model)
    return model


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
