"""The CIFAR-10 runs of He et al. (2015), section 4.2: those of Table 6, and the plain nets of Figure 6."""

from __future__ import annotations

from resnet_lib.architecture import Architecture
from resnet_lib.config import Config, ConfigError
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.recipes import recipe

DEPTHS = tuple(Architecture(model).depth for model in TABLE_6)  # the paper's, in layers
PLAIN = ("plain20", "plain56")  # without shortcuts: the deeper one is the worse, also on the images it trains on
FAST = Config(model="resnet20", **recipe("fast", "resnet20"))  # meant to reach the paper's accuracy sooner
READING = "ResNet-20, 45,000 images"  # the split on which the paper chose its length, perhaps kept for its results


def table_6() -> dict[str, Config]:
    """The runs of Table 6, by label, on all training images."""
    return {Architecture(model).title: Config(model=model, **recipe("paper", model)) for model in TABLE_6}


def configs(deepest: int = DEPTHS[-1]) -> dict[str, Config]:
    """Table 6, the other reading of its training set for ResNet-20, and the plain nets, up to so many layers.

    Raises ConfigError if none of the paper's has as many.
    """
    if deepest not in DEPTHS:
        raise ConfigError(f"deepest = {deepest!r} is not valid: give {', '.join(map(str, DEPTHS))}")
    shown = table_6()
    shown[READING] = shown["ResNet-20"].replace(split="train45k-test")
    shown |= {Architecture(model).title: Config(model=model, **recipe("paper", model)) for model in PLAIN}
    return {name: config for name, config in shown.items() if config.architecture.depth <= deepest}
