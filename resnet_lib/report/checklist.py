"""What to check in a network of one's own that stops at 80 %: the signs, and what they were worth in the records."""

from __future__ import annotations

import numpy as np

from resnet_lib.config import Config
from resnet_lib.findings import evidence
from resnet_lib.findings.curves import FITTED, GAP, HIGH, LOSS_TREND, LOW, SETTLED, first_drop, largest_rise, overfits
from resnet_lib.findings.judgement import compare, runs_in_words
from resnet_lib.questions import field_guide, story, suspects
from resnet_lib.questions.causes import HALF
from resnet_lib.records.record import Runs, find_seeds
from resnet_lib.report import commands, summary

SIDE = 8  # of the last maps: 32 pixels, halved twice


def checklist() -> str:
    """What to look for, in this order, if one's own network stops at 80 %, with what it cost in the `full` records."""
    items = [_code(), _learning_rate(), _overfitting(), _underfitting(), _else()]
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1)) + f"\n\n{_in_your_own_code()}"


def _code() -> str:
    changes = suspects.one_at_a_time()
    worth = _worth(changes[suspects.STORY], changes[suspects.STEM], "stem")
    return (
        "**The code, before the curves.** For 32×32 images the first layers (the stem) are one 3×3 convolution of "
        "stride 1, without max-pool; ImageNet's stem (7×7, stride 2, max-pool) is not for them"
        f"{f': 3×3 was worth {worth}' if worth else ''}. Print the shape before global pooling: {SIDE}×{SIDE} in the "
        "paper's networks; with ImageNet's stem, 2×2 or 1×1. Images are normalised, and shuffled every epoch together "
        "with their labels; the loss takes logits, without a softmax before it; gradients are zeroed at every step; "
        "the network is in train mode while it trains and in eval mode while it is evaluated, on images without "
        "augmentation; the schedule steps once per epoch if its milestones are epochs."
    )


def _learning_rate() -> str:
    cells, jumped = evidence.find_cells(suspects.EPOCHS, "full"), ""  # of which all on the way have their drops
    dropped = [record for levels in cells.way for record in cells.records[levels]]
    if dropped:
        gains = sorted(100 * first_drop([record]).gain for record in dropped)
        jumped = f" In the lab's runs of {suspects.EPOCHS} epochs the first drop gave {summary.in_range(gains)} points"
        if undropped := summary.runs("full").get(summary.NO_DROP):
            rise = 100 * max(largest_rise(record, suspects.EPOCHS // 2) for record in undropped)
            jumped += f"; without one, in {runs_in_words(len(undropped))}, chance gave {rise:.1f} at most"
        jumped += "."
    return (
        f"**Was the learning rate still high at the end?** Train on, from the end, for {SETTLED} epochs at a tenth of "
        f"the learning rate, and compare the mean of their test accuracies with that of the {HIGH} epochs before, for "
        f"single epochs jump about. If it rises by several points, the rate was still too high.{jumped} Have drops "
        "after a half and three quarters of the training, and log the learning rate of every epoch."
    )


def _overfitting() -> str:
    changes = suspects.one_at_a_time()
    worth = _worth(changes["crop and flip"], changes[suspects.STORY], "augmentation")
    looks_alike = any(map(overfits, find_seeds(changes[suspects.STEM], "full")))
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
        f"**None of these is clear?** Compare means of {HIGH} epochs of your log with `history.csv` of a run that is "
        f"recorded here, in `reports/full/runs/`: {_logs(summary.runs('full'))}. And read what others found who were "
        f"stuck: `reports/full/README.md` lists {len(field_guide.CASES)} public threads, with the cause where they "
        "show one."
    )


def _worth(better: Config, worse: Config, factor: str) -> str:
    """What one is worth beyond the other in the story's hundred epochs, and the factor in ten, as far as recorded."""
    parts = []
    if all(records := [find_seeds(config, "full") for config in (better, worse)]):
        parts.append(f"{compare(*records).number} points in {suspects.EPOCHS} epochs of the story's ResNet-20")
    cells = evidence.find_cells(10, "full")
    if cells.have(HALF):
        (effect,) = (found for found in evidence.effects(cells) if found.name == factor)
        parts.append(f"{effect.estimate.number} points on average in runs of {cells.epochs} epochs")
    return " and ".join(parts)


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
augmentation = [RandomCrop(32, padding={config.crop}), RandomHorizontalFlip()]  # then ToTensor, Normalize
optimizer = SGD(model.parameters(), lr={config.lr:g}, momentum={config.momentum:g}, weight_decay={decay})
scheduler = MultiStepLR(optimizer, milestones={list(config.milestones)})  # step once per epoch
# {config.epochs} epochs, batches of {config.batch_size}
```"""
