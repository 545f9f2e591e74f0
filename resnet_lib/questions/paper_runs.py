"""The CIFAR-10 runs of He et al. (2015), section 4.2: those of Table 6, and the plain nets of Figure 6."""

from __future__ import annotations

from resnet_lib.architecture import Architecture
from resnet_lib.config import Config, ConfigError
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.recipes import recipe

PLAIN = ("plain20", "plain56")  # without shortcuts: the deeper one is the worse, also on the images it trains on
FAST = Config(model="resnet20", **recipe("fast", "resnet20"))  # meant to reach the paper's accuracy sooner
READING = "ResNet-20, 45,000 images"  # the split on which the paper chose its length, perhaps kept for its results


def table_6() -> dict[str, Config]:
    """The runs of Table 6, by label, on all training images."""
    return {Architecture(model).title: Config(model=model, **recipe("paper", model)) for model in TABLE_6}


def configs(deepest: int = 1_000) -> dict[str, Config]:
    """Table 6, the other reading of its training set for ResNet-20, and the plain nets, up to so many layers.

    Raises ConfigError if none of them is that shallow.
    """
    shown = table_6()
    shown[READING] = shown["ResNet-20"].replace(split="train45k-test")
    shown |= {Architecture(model).title: Config(model=model, **recipe("paper", model)) for model in PLAIN}
    found = {name: config for name, config in shown.items() if config.architecture.depth <= deepest}
    if not found:
        raise ConfigError(f"deepest = {deepest} is not valid: the paper's shallowest network has 20 layers")
    return found
