"""What a network makes of an image, part by part: the size of its feature maps, and where its parameters are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_lib.config import Config
from resnet_lib.models.build import build_model
from resnet_lib.models.resnet import count_parameters


@dataclass(frozen=True)
class Part:
    name: str
    output: tuple[int, ...]  # [C, H, W] of one image of 3x32x32; of the last part, the number of classes
    parameters: int


def parts(config: Config) -> list[Part]:
    """The parts of the network of a config, in order: each stage, and before and after them what changes the size.

    What does not, such as batch norm after a first convolution, counts to the part before it. Nothing is computed, for
    shapes are enough. Raises LabError as `build_model` does.
    """
    found: list[Part] = []

    def note(name: str, module: nn.Module, output: Tensor) -> None:
        part = Part(name, tuple(output.shape[1:]), count_parameters(module))
        if isinstance(module, nn.Sequential) or not found or part.output != found[-1].output:
            found.append(part)
        else:
            before = found.pop()
            found.append(Part(before.name, part.output, before.parameters + part.parameters))

    with torch.device("meta"):
        network, _ = build_model(config)
        for name, module in _children(network):
            module.register_forward_hook(lambda module, _, output, name=name: note(name, module, output))
        network.eval()(torch.zeros(1, 3, 32, 32))
    return found


def _children(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """By name; of ours, the stages one by one, as torchvision has them."""
    found = []
    for name, module in network.named_children():
        if name == "stages":
            found += [(f"stage {number}", stage) for number, stage in enumerate(module, 1)]
        else:
            found.append((name, module))
    return found
