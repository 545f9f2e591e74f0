"""What to check in a network of one's own that stops at 80 %: the signs, and what they were worth in the records."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings import evidence
from resnet_lib.findings.curves import FITTED, GAP, HIGH, LOSS_TREND, LOW, SETTLED, first_drop, overfits, rise_by_chance
from resnet_lib.findings.judgement import runs_in_words
from resnet_lib.questions import causes, field_guide, story, suspects
from resnet_lib.questions.causes import HALF
from resnet_lib.records.record import Record, Runs, find_seeds
from resnet_lib.report import commands, summary, tables

SIDE, HUB_SIDE = 8, 4  # of the last maps: 32 pixels, halved twice; by torchvision's networks three times

NORMALIZE = "Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))"  # a test holds it against the images


def checklist() -> str:
    """What to look for, in this order, if one's own network stops at 80 %, with what it cost in the `full` records."""
    items = [_code(), _learning_rate(), _overfitting(), _underfitting(), _else()]
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1)) + f"\n\n{_in_your_own_code()}"


def _code() -> str:
    worth = _worth(suspects.STORY, suspects.STEM, "stem")
    return (
        "**The code, before the curves.** For 32×32 images the first layers (the stem) are one 3×3 convolution of "
        "stride 1, without max-pool; ImageNet's stem (7×7, stride 2, max-pool) is not for them"
        f"{f': 3×3 was worth {worth}' if worth else ''}. Print the shape before global pooling: {SIDE}×{SIDE} in the "
        f"paper's networks, {HUB_SIDE}×{HUB_SIDE} in torchvision's with a 3×3 stem; with ImageNet's, 2×2 or 1×1. "
        "Images are normalised, and shuffled every epoch together with their labels; the loss takes logits, without a "
        "softmax before it; gradients are zeroed at every step; the network is in train mode while it trains and in "
        "eval mode while it is evaluated, on images without augmentation; the schedule steps once per epoch if its "
        "milestones are epochs."
    )


def _learning_rate() -> str:
    cells, seen = evidence.find_cells(suspects.EPOCHS, "full"), ""
    if told := summary.drop_gains(cells, _chance):
        seen = f" On the lab's ResNet-20 with a 3×3 stem, in {suspects.EPOCHS} epochs, that gave {told}"
        others = [one for records in evidence.by_decay(cells, -1).values() for one in evidence.drop_gains(records)]
        if others:
            gave = summary.in_range(sorted(100 * gain for gain in others))
            seen += f"; with ImageNet's, {gave} ({runs_in_words(len(others))})"
        seen += "."
    if recipe := cells.records[causes.PAPER]:
        held, decay = 100 * first_drop(recipe).before.mean(), tables.scientific(recipe[0].config.weight_decay)
        seen += (
            f" With crops, flips and a weight decay of {decay} it had {held:.0f} % before its first drop "
            f"({runs_in_words(len(recipe))}): a ResNet-20 trained so that stays well below it probably lacks something "
            "else, too."
        )
    return (
        f"**Was the learning rate still high at the end?** Train on, from the end, for {SETTLED} epochs at a tenth of "
        f"the learning rate, and compare the mean of their test accuracies with that of the {HIGH} epochs before, for "
        f"single epochs jump about. If it rises by several points, the rate was still too high.{seen} Have drops "
        "after a half and three quarters of the training, and log the learning rate of every epoch."
    )


def _chance(records: list[Record]) -> str:
    largest = 100 * max(map(rise_by_chance, records))
    return f"; where the rate did not change, {largest:.1f} at most"


def _overfitting() -> str:
    worth = _worth("crop and flip", suspects.STORY, "augmentation")
    looks_alike = any(map(overfits, find_seeds(suspects.one_at_a_time()[suspects.STEM], "full")))
    return (
        f"**Does it overfit?** Training accuracy {100 * FITTED:g} % or more, test loss ending {100 * LOSS_TREND:g} % "
        "or more above its minimum: add random crops (4 pixels of padding) and flips. They make the images harder to "
        f"fit, so a short training may gain little from them{f' ({worth})' if worth else ''}."
        f"{' With the wrong stem it looks like this, too: see to that first.' if looks_alike else ''}"
    )


def _underfitting() -> str:
    return (
        f"**Does it underfit?** Training accuracy below {100 * LOW:g} %, and within {100 * GAP:g} points of test "
        "accuracy: train longer, raise a small learning rate, and look at the stem again."
    )


def _else() -> str:
    return (
        "**None of these is clear?** `resnet-lab diagnose LOG.csv` looks for these signs in a log of yours, and names "
        f"the recorded runs that are most like it. Or compare means of {HIGH} epochs with `history.csv` of a run in "
        f"`reports/full/runs/`: {_logs(_instructive())}. And read what others found who were stuck: "
        f"`reports/full/README.md` lists {len(field_guide.CASES)} public threads, with the cause where they show one."
    )


def _worth(better: str, worse: str, factor: str) -> str:
    """What a single change is worth beyond another in a hundred epochs, and the factor in ten, as far as recorded."""
    parts = []
    if difference := evidence.worth(better, worse, "full"):
        parts.append(f"{difference.number} in {suspects.EPOCHS} epochs of the story's ResNet-20")
    cells = evidence.find_cells(10, "full")
    if cells.have(HALF):
        (effect,) = (found for found in evidence.effects(cells) if found.name == factor)
        parts.append(f"{effect.estimate.number} on average in runs of {cells.epochs} epochs")
    return " and ".join(parts)


def _instructive() -> Runs:
    """Runs of which one may look like the reader's: those of the answer, and one of many people's settings."""
    both = find_seeds(suspects.stem_and_augmentation(), "full")
    found = summary.runs("full") | {"ImageNet's stem, with crop and flip": both}
    return {label: records for label, records in found.items() if records}


def _logs(found: Runs) -> str:
    """The folders of runs, with how well each fitted its images in the last epochs of every learning rate."""
    parts = []
    for label, records in found.items():
        drops, fitted = (np.array([row[key] for row in records[0].history]) for key in ("drops", "train_accuracy"))
        rates = [f"{100 * fitted[drops == drop][-HIGH:].mean():.0f}" for drop in sorted(set(drops))]
        parts.append(f"`{records[0].path.name}` ({label}; {', then '.join(rates)} %)")
    if not parts:
        return story.NOT_YET
    return f"{', '.join(parts)}. In brackets, the training accuracy at the end of each learning rate"


def _in_your_own_code() -> str:
    """What the first of `COMMANDS` does, in PyTorch and torchvision."""
    command, config = next(iter(commands.COMMANDS.items()))
    decay = f"{config.weight_decay:g}"
    return f"""What `{command}` sets, in plain PyTorch:

```python
conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)  # and no max-pool; in torchvision's networks:
# model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
augmentation = [RandomCrop(32, padding={config.crop}), RandomHorizontalFlip()]  # of training images alone
normalisation = [ToTensor(), {NORMALIZE}]
optimizer = SGD(model.parameters(), lr={config.lr:g}, momentum={config.momentum:g}, weight_decay={decay})
scheduler = MultiStepLR(optimizer, milestones={list(config.milestones)})  # step once per epoch
# {config.epochs} epochs, batches of {config.batch_size}
```"""
