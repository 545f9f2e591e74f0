"""A config in words."""

from __future__ import annotations

import numpy as np

from resnet_lib.config import Config

TOLD = {"model", "stem", "crop", "flip", "weight_decay", "lr", "schedule", "milestones", "epochs", "iterations", "seed"}


def described(config: Config) -> str:
    """What was chosen, in words: `ResNet-20, crop and flip, weight decay 5e-4, learning rate 0.1, 2 drops, 100 epochs`.

    Everything but the seed and where drops are; what is as the lab has it by default is said of the first few alone.
    """
    arch = config.architecture
    parts = [arch.title]
    stem = config.stem or arch.shape
    if "imagenet" in (stem, arch.shape):  # networks of the CIFAR shape have the other one
        parts.append({"cifar": "3×3 stem", "imagenet": "ImageNet's stem"}[stem])
    parts.append(augmentation(config))
    drops = sum(step < config.total_steps for step in config.milestone_steps)
    falls = f"{drops or 'no'} drop{'' if drops == 1 else 's'}" if config.schedule == "multistep" else config.schedule
    parts += [f"weight decay {scientific(config.weight_decay)}", f"learning rate {config.lr:g}", falls]
    parts.append(f"{config.total_epochs} epoch{'' if config.total_epochs == 1 else 's'}")
    others = {name: value for name, value in config if name not in TOLD and value != Config.model_fields[name].default}
    return ", ".join([*parts, *(f"{name} {value}" for name, value in others.items())])


def training(config: Config) -> str:
    """How an SGD config trains, in words, but for its length."""
    drops = f" divided by ten after epochs {' and '.join(map(str, config.milestones))}" if config.milestones else ""
    return (
        f"SGD with momentum {config.momentum:g}, batches of {config.batch_size}, a learning rate of {config.lr:g}"
        f"{drops}, weight decay {scientific(config.weight_decay)}, {augmentation(config)}"
    )


def reduced(config: Config, words: str) -> str:
    """The words, with the precision in the place of {}; empty for fp32, in which all else is."""
    return "" if config.precision == "fp32" else words.format(config.precision)


def augmentation(config: Config) -> str:
    """`crop and flip`, or `no augmentation`."""
    crop = {0: "", 4: "crop"}.get(config.crop, f"crop {config.crop}")  # 4 is the paper's
    flip = {False: "", True: "flip"}.get(config.flip, f"{config.flip} flip")
    return " and ".join(filter(None, (crop, flip))) or "no augmentation"


def scientific(value: float) -> str:
    """`5e-4`."""
    return np.format_float_scientific(value, trim="-", exp_digits=1) if value else "0"
