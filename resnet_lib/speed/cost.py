"""How long runs will take: on this machine from a few steps of each network, on another from its benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.models.build import build_model
from resnet_lib.speed import measured
from resnet_lib.training.update import make_update

STEPS = 3
EVALUATION = 1 / 3  # of a training step's work: the forward pass alone


def kind(config: Config) -> Config:
    """What the speed of a run depends on; all else is left at its default (all that is planned is by SGD)."""
    return Config(model=config.model, stem=config.stem, batch_size=config.batch_size, precision=config.precision)


def rates(configs: list[Config], choice: Choice, say: Callable[[str], None]) -> dict[Config, float]:
    """Images/s of training, not compiled, for each kind of run."""
    found = {}
    kinds = {kind(config): None for config in configs}
    for number, config in enumerate(kinds, 1):
        stem = f" with the {config.stem} stem" if config.stem else ""
        say(f"measuring {number} of {len(kinds)}: {config.model}{stem}, {config.precision}")
        found[config] = images_per_second(config, replace(choice, compile=False))
    return found


def images_per_second(config: Config, choice: Choice) -> float:
    """Of training on noise: the mean of STEPS steps after a first."""
    network, _ = build_model(config)
    images = np.random.default_rng(0).integers(0, 256, (config.batch_size, 3, 32, 32), np.uint8)
    update = make_update(network.train(), images, np.arange(len(images)) % 10, config, choice)
    plan = next(update.batches.plans(0))
    update(plan)
    update.totals.read()  # which waits for the device
    began = time.perf_counter()
    for _ in range(STEPS):
        update(plan)
    update.totals.read()
    return STEPS * config.batch_size / (time.perf_counter() - began)


def flops_per_image(config: Config) -> float:
    """Floating-point operations to train on one image, a multiply-add counting as two (batch norm is left out).

    The hub's networks are counted as ours of the same shape, which needs no hub. Nothing is computed: shapes tell.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network, _ = build_model(config.replace(model=config.model.removeprefix("hub-")))
        network(torch.zeros(2, 3, 32, 32)).sum().backward()
    return counter.get_total_flops() / 2


def expected(config: Config, bench: dict[str, Any]) -> float:
    """Images/s of training, at the arithmetic rate of the most similar network of a benchmark.

    Which must be whole, not `--quick`, and say what fp32 costs (`measured.fp32_share`), in which most runs are.

    A network with little arithmetic is slower than that: ResNet-20 with ImageNet's stem came to half of it.
    """
    flops, others = flops_per_image(config), bench["flops_per_image"]
    is_imagenet = config.architecture.shape == "imagenet"
    alike = [model for model in bench["networks"] if (model == "resnet50") == is_imagenet]
    similar = min(alike, key=lambda model: abs(np.log(others[model] / flops)))
    share = measured.fp32_share(bench, similar) if config.precision == "fp32" else 1.0
    return float(measured.rate(bench["networks"][similar][-1]) * share * others[similar] / flops)


def seconds(config: Config, rate: float) -> float:
    """Of a whole run with its evaluations, at so many images/s."""
    return (config.total_images + config.total_epochs * config.test_size * EVALUATION) / rate
