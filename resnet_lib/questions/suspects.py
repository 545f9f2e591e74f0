"""Suspects one by one: added to the assumed settings, left out of the paper's, or assumed in all of the story."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from resnet_lib.config import Config
from resnet_lib.questions import paper_runs, story
from resnet_lib.questions.causes import AUGMENTATION, DROPS, FACTORS, HUNDRED, RATE, STEM, cell, change
from resnet_lib.questions.factorial import turned

EPOCHS = 100
ASSUMED, PAPER = "the assumed settings", "the paper's recipe"  # the first rows, from which the others differ
CIFAR_STEP = story.step("03_cifar_architecture")  # which reports the network that all of these train
OTHERS = tuple(  # what the story tells of as many epochs of other networks
    (step, config) for step, config in story.TOLD if step is not CIFAR_STEP and config.epochs == EPOCHS
)

ADDED: dict[str, dict[str, Any]] = {  # beside the choices that are varied together
    "PyTorch's initialisation": {"init": "torch"},
    "mean of each pixel subtracted": {"normalize": "pixel"},
    "shortcuts of option B": {"shortcut": "B"},
    "batch size 512": {"batch_size": 512},
    "164 epochs": {"epochs": 164, "milestones": (82, 123)},
    "in bf16": story.IN_BF16,
}
LEFT_OUT: dict[str, dict[str, Any]] = {
    "no crop": {"crop": 0},
    "no flip": {"flip": False},
    "neither crop nor flip": {"crop": 0, "flip": False},
    "no learning-rate drop": {"milestones": ()},
    "one learning-rate drop": {"milestones": (32_000,)},
    "weight decay 5e-4": {"weight_decay": 5e-4},
    "no weight decay": {"weight_decay": 0.0},
    "learning rate 0.01": {"lr": 0.01},
    "PyTorch's initialisation": {"init": "torch"},
    "channels normalised, not pixels": {"normalize": "channel"},
    "shortcuts of option B": {"shortcut": "B"},
    "batch size 512, as many images": {"batch_size": 512, "iterations": 16_000, "milestones": (8_000, 12_000)},
    "a tenth of the iterations": {"iterations": 6_400, "milestones": (3_200, 4_800)},
}


def label(*factors: int) -> str:
    """What it is called to make the choice of these factors the other way."""
    return change(HUNDRED, turned(HUNDRED, *factors))


NO_DROP, SMALL_RATE, AUGMENTED, WRONG_STEM = label(DROPS), label(RATE), label(AUGMENTATION), label(STEM)
STEM_AUGMENTED = label(STEM, AUGMENTATION)
SHOWN = {  # what is changed in the table and the picture that are shown first
    NO_DROP: (DROPS,),
    SMALL_RATE: (RATE,),
    AUGMENTED: (AUGMENTATION,),
    WRONG_STEM: (STEM,),
    STEM_AUGMENTED: (STEM, AUGMENTATION),
}


def changed(*factors: int) -> Config:
    """The story's hundred epochs on ResNet-20, with the choice of these factors made the other way."""
    return cell(turned(HUNDRED, *factors), EPOCHS)


def one_at_a_time() -> dict[str, Config]:
    """The assumed settings on ResNet-20, and each change of them alone."""
    return {
        ASSUMED: changed(),
        **{label(factor): changed(factor) for factor in range(len(FACTORS))},
        **{name: changed().replace(**fields) for name, fields in ADDED.items()},
    }


def leave_one_out() -> dict[str, Config]:
    """The paper's ResNet-20, and each of its choices left out or made otherwise."""
    recipe = paper_runs.table_6()["ResNet-20"]
    return {PAPER: recipe, **{name: recipe.replace(**fields) for name, fields in LEFT_OUT.items()}}


@dataclass(frozen=True)
class Hypothesis:
    """Something the story does not tell, assumed of every run that it reports."""

    name: str
    fields: dict[str, Any]
    of_cifar_network: dict[str, Any] = field(default_factory=dict)  # and of the one that step 03 reports, besides

    def configs(self) -> dict[str, dict[str, Config]]:
        """The runs that the story may report of each step, by notebook and label, if this were so."""
        return {
            step.notebook: {label: self.applied(step.configs[label], step) for label in step.told}
            for step in story.STEPS
        }

    def applied(self, config: Config, step: story.Step) -> Config:
        return config.replace(**self.fields, **(self.of_cifar_network if step == CIFAR_STEP else {}))


IMAGENET_STEM = FACTORS[STEM].suspect.fields
HYPOTHESES = (
    Hypothesis("the assumed settings", {}),
    Hypothesis("the drops never came", {"milestones": ()}),
    Hypothesis("augmented after all", story.CROP_AND_FLIP),
    Hypothesis("augmented, and the drops never came", {**story.CROP_AND_FLIP, "milestones": ()}),
    Hypothesis("learning rate 0.01 throughout", {"lr": 0.01}),
    Hypothesis("the drops came, but not for the CIFAR network", {}, {"milestones": ()}),
    Hypothesis("learning rate 0.01 for the CIFAR network alone", {}, {"lr": 0.01}),
    Hypothesis("weight decay 1e-4 for the CIFAR network alone", {}, {"weight_decay": 1e-4}),
    Hypothesis("the CIFAR network kept the ImageNet stem", {}, IMAGENET_STEM),
    Hypothesis("augmented, and the CIFAR network kept the ImageNet stem", story.CROP_AND_FLIP, IMAGENET_STEM),
)


def accounts() -> list[Config]:
    """The runs of all hypotheses."""
    return [one for hypothesis in HYPOTHESES for told in hypothesis.configs().values() for one in told.values()]
