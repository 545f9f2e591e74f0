"""The story that the lab retells, as experiments: each step's configs and what was said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resnet_lib.config import SIZES, Config

NOT_YET = "not yet run"  # what stands in place of a missing record

# SGD 0.1, momentum 0.9, batch 128, no augmentation: the defaults. Both milestones lie past the end, as in the story.
BASELINE = Config(model="resnet50", epochs=10, milestones=(50, 75))

# What the hundred epochs of ResNet-50 and 26 are run in: on a CPU that has instructions for it some two thirds of the
# hours, on others many times as long, of which a run warns. "05, the assumed settings changed one by one" tells
# whether ResNet-20 ends elsewhere by it.
IN_BF16: dict[str, Any] = {"precision": "bf16"}

PLAIN = BASELINE.replace(epochs=100, milestones=(), **IN_BF16)
TUNED = BASELINE.replace(epochs=100, weight_decay=5e-4)
NEAR = 0.05  # how far (share of the images) "near 50 %" reaches to either side
CROP_AND_FLIP = {"crop": 4, "flip": True}  # as the paper has it, and the story, as the lab assumes, had not


@dataclass(frozen=True)
class Step:
    """One notebook of the story."""

    notebook: str
    title: str
    configs: dict[str, Config]  # by label, at full size
    headline: str  # label of the run that the claimed accuracy is about, as the lab assumes it
    claimed: float  # test accuracy (%) that the story tells of this step, to the whole percent
    also: tuple[str, ...] = ()  # of others that it may be about as well, for the story does not say

    @property
    def told(self) -> tuple[str, ...]:
        return self.headline, *self.also

    @property
    def near(self) -> tuple[float, float]:
        """The test accuracies (shares) that count as near the claimed one."""
        return self.claimed / 100 - NEAR, self.claimed / 100 + NEAR

    @property
    def about(self) -> str:
        return f"{self.claimed:g} % (± {100 * NEAR:g} points)"

    def tells_of(self, label: str, config: Config, profile: str = "full") -> bool:
        """Whether the claimed accuracy may be about runs of `config`, at the size of a profile.

        They are those told of, with the story's parameters.
        """
        return label in self.told and config.fingerprint == self.configs[label].at(profile).fingerprint

    def named(self, label: str) -> str:
        """A label with its network, where it names none: `ResNet-50, one LR drop`; as it is if not the story's."""
        if label not in self.configs:
            return label
        network = self.configs[label].architecture.title
        return label if network in label else f"{network}, {label}"

    def label(self, label: str) -> str:
        """One that is unique in the whole story: `02 ResNet-50, one LR drop`."""
        return f"{self.notebook[:2]} {self.named(label)}"


STEPS = (
    Step(
        "01_ten_epochs",
        "Ten epochs",
        {"ResNet-50": BASELINE},
        "ResNet-50",
        50,
    ),
    Step(
        "02_hundred_epochs",
        "A hundred epochs",
        {
            "no LR drop": PLAIN,
            "no LR drop, more weight decay": PLAIN.replace(weight_decay=5e-4),
            "one LR drop": PLAIN.replace(milestones=(50,)),
            "two LR drops": PLAIN.replace(milestones=(50, 75)),
            "two LR drops, more weight decay": TUNED.replace(**IN_BF16),
            # Half as deep, for a CPU.
            "ResNet-26, two LR drops, more weight decay": TUNED.replace(model="resnet26", **IN_BF16),
        },
        "two LR drops, more weight decay",
        82,
    ),
    Step(
        "03_cifar_architecture",
        "The architecture",
        {
            "ResNet-20, 10 epochs": BASELINE.replace(model="resnet20"),
            "ResNet-20, 100 epochs": TUNED.replace(model="resnet20"),
        },
        "ResNet-20, 100 epochs",
        80,
    ),
    Step(
        "04_torch_hub_check",
        "The sanity check",
        {
            "ResNet-50 (torch.hub)": TUNED.replace(model="hub-resnet50", **IN_BF16),
            "ResNet-18 (torch.hub)": TUNED.replace(model="hub-resnet18"),
        },
        "ResNet-50 (torch.hub)",
        83,
        also=("ResNet-18 (torch.hub)",),
    ),
)

# What the story may report, each with its step, in its order.
TOLD = tuple((step, step.configs[label]) for step in STEPS for label in step.told)


def headlines(*notebooks: str) -> dict[str, Config]:
    """The runs that the story reports in these steps, by labels that are unique in it."""
    return {one.label(one.headline): one.configs[one.headline] for one in map(step, notebooks)}


def step(notebook: str) -> Step:
    """The step that a notebook retells. Raises KeyError for a notebook that is none."""
    return {one.notebook: one for one in STEPS}[notebook]


def stamp(profile: str) -> str:
    """What a page, figure or table made at a small profile says on its face; empty for `full`."""
    if profile == "full":
        return ""
    size = SIZES[profile]
    images = "synthetic images" if profile == "smoke" else "images"
    return (
        f"{profile} profile: {size['train_images']:,} {images}, at most {size['epochs']} epochs; "
        "not the published experiment"
    )
