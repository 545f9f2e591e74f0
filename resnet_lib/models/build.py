"""The network of a config, whoever wrote it, and its place on a device."""

from __future__ import annotations

import threading

import torch
from torch import nn

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.models import hub, resnet
from resnet_lib.models.products import use_products

BUILDING = threading.Lock()  # torch's random state, from which networks are initialised, is one for all threads


def build_model(config: Config, num_classes: int = 10, ask_hub: bool = False) -> tuple[nn.Module, str]:
    """The network of a config, initialised from its seed, and where its code comes from.

    torch's random state on the CPU stays as it was.

    For one of torch.hub's, the hub is asked for what a record is to tell of; elsewhere the same network comes from the
    installed torchvision. Raises LabError where that is not there.
    """
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.architecture.family == "hub":
            return hub.build(config, num_classes, ask_hub)
        return resnet.build(config, num_classes), "resnet_lib.models"  # the folder, as all records have it


def place(network: nn.Module, choice: Choice) -> nn.Module:
    """The network itself, moved to the chosen device and layout; with `products`, its convolutions are changed."""
    if choice.products:
        use_products(network)
    return network.to(choice.device, memory_format=choice.memory_format)
