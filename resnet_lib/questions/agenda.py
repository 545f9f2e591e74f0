"""Everything that `resnet-lab full` runs, in its order: the most telling first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from resnet_lib.config import Config
from resnet_lib.questions import causes, field_guide, paper_runs, story, suspects
from resnet_lib.questions.causes import AUGMENTATION, DECAY, DROPS, STEM

SEEDS = range(3)
PAPER_SEEDS = range(5)


@dataclass(frozen=True)
class Part:
    """Runs that belong together."""

    name: str
    configs: tuple[Config, ...]


@cache
def parts() -> tuple[Part, ...]:
    """All of them; a run that belongs to several is in the first."""
    ten, hundred, architecture, hub = (step.configs for step in story.STEPS)
    augmented = architecture["ResNet-20, 100 epochs"].replace(**story.CROP_AND_FLIP)
    undropped = suspects.changed(DROPS)
    paper = paper_runs.configs()
    plateaus = list(field_guide.configs().values())
    with_wrong_stem = [(STEM,), (STEM, AUGMENTATION), (STEM, DROPS), (STEM, AUGMENTATION, DECAY)]  # cheap, and telling
    stems = [suspects.changed(*factors) for factors in with_wrong_stem]
    of_resnet50 = [config for config in hundred.values() if config.model == story.BASELINE.model]
    first, *others = SEEDS
    found = [
        Part("01 and 03, ten epochs", seeded([*ten.values(), architecture["ResNet-20, 10 epochs"]], SEEDS)),
        Part("05, factorial, ten epochs", factorial(10)),
        Part("03, a hundred epochs", seeded([architecture["ResNet-20, 100 epochs"], augmented, undropped], SEEDS)),
        Part("03, with ImageNet's stem", seeded(stems, SEEDS)),
        Part("02, first seed", seeded(of_resnet50, [first])),
        Part("02, other seeds", seeded(of_resnet50, others)),
        Part("04, first seed", seeded([*hub.values(), *causes.square().values()], [first])),
        Part("04, other seeds", seeded([*hub.values(), *causes.square().values()], others)),
        Part("02, ResNet-26", seeded([c for c in hundred.values() if c not in of_resnet50], SEEDS)),
        Part("06, first seed", seeded(paper.values(), [first])),
        Part("06, other seeds", seeded(paper.values(), PAPER_SEEDS[1:])),
        Part("05, factorial, a hundred epochs", factorial(100)),
        Part("05, the assumed settings changed one by one", seeded(suspects.one_at_a_time().values(), [first])),
        Part("05, the paper's choices left out one by one", seeded(suspects.leave_one_out().values(), [first])),
        Part("05, accounts of the whole story", seeded(suspects.accounts(), [first])),
        Part("05, other people's plateaus", seeded(plateaus, [first])),
        Part("05, accounts and plateaus, other seeds", seeded([*suspects.accounts(), *plateaus], others)),
    ]
    seen: set[str] = set()
    return tuple(Part(part.name, tuple(unseen(part.configs, seen))) for part in found)


def factorial(epochs: int) -> tuple[Config, ...]:
    """Every cell once, then with the other seeds those that the answer rests on, and one whose rate stays high.

    Its seeds differ more than those of the others, and the effects over all cells need to know how much.
    """
    first, *others = SEEDS
    repeated = [causes.cell(levels, epochs) for levels in [*causes.way(epochs), causes.CUBE[0]]]
    return seeded(causes.factorial(epochs).values(), [first]) + seeded(repeated, others)


def unseen(configs: Iterable[Config], seen: set[str]) -> Iterable[Config]:
    """Those whose run is not in `seen`, to which they are added."""
    for config in configs:
        if config.run_id not in seen:
            seen.add(config.run_id)
            yield config


def seeded(configs: Iterable[Config], seeds: Iterable[int]) -> tuple[Config, ...]:
    configs = list(configs)
    return tuple(config.replace(seed=seed) for seed in seeds for config in configs)
