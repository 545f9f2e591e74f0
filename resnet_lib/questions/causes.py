"""What could explain the story, as experiments: choices varied together on ResNet-20, and on torch.hub's ResNet-18."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from resnet_lib.config import Config, ConfigError
from resnet_lib.questions.factorial import Levels, cells_between, half_fraction
from resnet_lib.questions.story import CROP_AND_FLIP, TUNED


@dataclass(frozen=True)
class Level:
    """One of the two ways in which a choice is made."""

    label: str  # below the name of the choice
    alone: str  # where nothing else names it
    fields: dict[str, Any]  # of `Config`


@dataclass(frozen=True)
class Factor:
    """A choice that a from-scratch ResNet gets wrong (-1) or makes as the paper does (+1)."""

    name: str
    suspect: Level
    paper: Level

    @property
    def change(self) -> str:
        return f"{self.suspect.label} → {self.paper.label}"

    def at(self, level: int) -> Level:
        return self.paper if level > 0 else self.suspect


STEM, AUGMENTATION, DROPS, DECAY, RATE = range(5)  # their places in FACTORS, and in the levels of a cell
FACTORS = (
    Factor("stem", Level("ImageNet's", "ImageNet's stem", {"stem": "imagenet"}), Level("3×3", "3×3 stem", {})),
    Factor(
        "augmentation", Level("none", "no augmentation", {}), Level("crop and flip", "crop and flip", CROP_AND_FLIP)
    ),
    # Milestones depend on the run's length: after a half and three quarters, as the paper's.
    Factor("LR drops", Level("none", "no learning-rate drop", {}), Level("two", "two learning-rate drops", {})),
    Factor(
        "weight decay",
        Level("5e-4", "weight decay 5e-4", {"weight_decay": 5e-4}),
        Level("1e-4", "weight decay 1e-4", {"weight_decay": 1e-4}),
    ),
    Factor(
        "learning rate",
        Level("0.01", "learning rate 0.01", {"lr": 0.01}),
        Level("0.1", "learning rate 0.1", {"lr": 0.1}),
    ),
)
PAPER: Levels = (1, 1, 1, 1, 1)  # in these five alone: not in its length, nor in the mean of each pixel subtracted
# 03's network as the story trains it, never with augmentation: for ten epochs, at whose end no drop has come, and for a
# hundred, with both drops and more weight decay.
TEN: Levels = (1, -1, -1, 1, 1)
HUNDRED: Levels = (1, -1, 1, -1, 1)
HALF = half_fraction(len(FACTORS))  # what each factor is worth, over all settings of the others
# Every cell on a way from the assumed settings to the paper's, at either budget.
CUBE = cells_between(tuple(map(min, TEN, HUNDRED)), PAPER)
CELLS = [*CUBE, *(levels for levels in HALF if levels not in CUBE)]
ALL = list(product((-1, 1), repeat=len(FACTORS)))  # of which some are in no design, but run for other reasons
AS_IT_IS = "its own stem"  # torch.hub's ResNet-18
BUDGETS = {"smoke": (10,), "quick": (10,), "full": (10, 100)}  # epochs that are shown; a small profile caps them all


def start(epochs: int) -> Levels:
    """The assumed settings at a budget: its drops come after epochs 50 and 75.

    Raises ConfigError for a budget between, in which it would make one of the two.
    """
    if 50 < epochs <= 75:
        raise ConfigError(f"epochs = {epochs} is not valid: the story makes one drop in it; give up to 50, or above 75")
    return TEN if epochs <= 50 else HUNDRED


def way(epochs: int) -> list[Levels]:
    """Every cell between the assumed settings and the paper's: shares of the gap assume nothing of interactions.

    They are run with several seeds.
    """
    return cells_between(start(epochs), PAPER)


def cell(levels: Levels, epochs: int) -> Config:
    """The run of one cell of the factorial. Raises ConfigError for a budget in which two drops have no room."""
    if epochs < 4:
        raise ConfigError(f"epochs = {epochs} is not valid: two learning-rate drops need 4 or more")
    fields: dict[str, Any] = {}
    for factor, level in zip(FACTORS, levels, strict=True):
        fields |= factor.at(level).fields
    if levels[DROPS] > 0:
        fields["milestones"] = (round(epochs / 2), round(3 * epochs / 4))
    return Config(model="resnet20", epochs=epochs, **fields)


def levels_of(config: Config) -> Levels | None:
    """The combination of factors that a run is, whatever its seed; None of one that varies something else."""
    return None if config.iterations or config.epochs < 4 else _by_fingerprint(config.epochs).get(config.fingerprint)


@cache
def _by_fingerprint(epochs: int) -> dict[str, Levels]:
    return {cell(levels, epochs).fingerprint: levels for levels in ALL}


def factorial(epochs: int) -> dict[Levels, Config]:
    """All cells, by their levels. Raises ConfigError for a budget of which `start` or a cell does."""
    start(epochs)
    return {levels: cell(levels, epochs) for levels in CELLS}


def labelled(epochs: int) -> dict[str, Config]:
    """The same, by what is chosen."""
    return {label(levels): config for levels, config in factorial(epochs).items()}


def label(levels: Levels) -> str:
    """A cell's name: what is chosen for each factor."""
    return ", ".join(f"{factor.name} {factor.at(level).label}" for factor, level in zip(FACTORS, levels, strict=True))


def change(start: Levels, levels: Levels) -> str:
    """What a cell has otherwise than `start`, in words."""
    return ", ".join(FACTORS[f].at(level).alone for f, level in enumerate(levels) if level != start[f])


def square() -> dict[str, Config]:
    """torch.hub's ResNet-18, as the story's sanity check trains it, and with augmentation, a 3x3 stem, or both.

    Its own stem and max-pool leave maps of 1x1 of a CIFAR image.
    """
    tuned = TUNED.replace(model="hub-resnet18")
    augmented, stem = FACTORS[AUGMENTATION].paper.alone, FACTORS[STEM].paper.alone
    return {
        AS_IT_IS: tuned,
        augmented: tuned.replace(**CROP_AND_FLIP),
        stem: tuned.replace(stem="cifar"),
        f"{stem}, {augmented}": tuned.replace(stem="cifar", **CROP_AND_FLIP),
    }
