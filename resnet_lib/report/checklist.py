"""What to check in a network of one's own that stops at 80 %: the signs, and what they were worth in the records."""

from __future__ import annotations

import numpy as np

from resnet_lib.config import Config
from resnet_lib.findings import evidence
from resnet_lib.findings.curves import FITTED, GAP, HIGH, LOSS_TREND, LOW, SETTLED, first_drop, largest_rise
from resnet_lib.findings.judgement import compare, runs_in_words
from resnet_lib.questions import field_guide, story, suspects
from resnet_lib.questions.causes import HALF
from resnet_lib.records.record import Runs, find_seeds
from resnet_lib.report import commands, summary


def checklist() -> str:
    """What to look for, in this order, if one's own network stops at 80 %, with what it cost in the `full` records."""
    cells, found = evidence.find_cells(10, "full"), summary.runs("full")
    worth = {effect.name: effect.estimate for effect in evidence.effects(cells)} if cells.have(HALF) else {}
    on_average = f"points on average in runs of {cells.epochs} epochs"
    plain, stem = (suspects.one_at_a_time()[name] for name in (suspects.STORY, suspects.STEM))
    stems, crops = _in_the_story(plain, stem), _in_the_story(suspects.one_at_a_time()["crop and flip"], plain)
    if worth:
        stems.append(f"{worth['stem'].number} {on_average}")
        crops.append(f"{worth['augmentation'].number} {on_average}")
    stem_told = f": 3×3 was worth {' and '.join(stems)}" if stems else ""
    crops_told = f" ({' and '.join(crops)})" if crops else ""
    hundred = evidence.find_cells(suspects.EPOCHS, "full")  # of which all on the way have their drops
    dropped = [record for levels in hundred.way for record in hundred.records[levels]]
    gains = sorted(100 * first_drop([record]).gain for record in dropped)
    jumped = f"in the lab's runs of {suspects.EPOCHS} epochs by {summary.in_range(gains)} points" if gains else ""
    if undropped := found.get(summary.NO_DROP):
        rise = 100 * max(largest_rise(record, suspects.EPOCHS // 2) for record in undropped)
        jumped += f"; without a drop, in {runs_in_words(len(undropped))}, never by more than {rise:.1f}"
    lines = [
        "**The code, before the curves.** For 32×32 images the first layers (the stem) are one 3×3 convolution of "
        f"stride 1, without max-pool; ImageNet's stem (7×7, stride 2, max-pool) is not for them{stem_told}. Images are "
        "normalised, and shuffled every epoch together with their labels; the loss takes logits, without a "
        "softmax before it; gradients are zeroed at every step; the network is in train mode while it trains and in "
        "eval mode while it is evaluated, on images without augmentation; the schedule steps once per epoch if its "
        "milestones are epochs.",
        "**Was the learning rate still high at the end?** Go on from the end of your training with a tenth of the "
        f"learning rate for {SETTLED} epochs, and compare the mean of their test accuracies with that of the last "
        f"{HIGH} epochs, for single epochs jump about. If it has risen by several points"
        f"{f' ({jumped})' if jumped else ''}, the drops came too late, or never: have them after a half and three "
        "quarters of the training, and log the learning rate of every epoch.",
        f"**Does it overfit?** Training accuracy {100 * FITTED:g} % or more, test loss ending {100 * LOSS_TREND:g} % "
        "or more above its minimum: add random crops (4 pixels of padding) and flips. They make the images harder to "
        f"fit, so a short training may gain little from them{crops_told}.",
        f"**Does it underfit?** Training accuracy below {100 * LOW:g} %, and within {100 * GAP:g} points of test "
        "accuracy: train longer, raise a small learning rate, and look at the stem again.",
        f"**None of these is clear?** Compare means of {HIGH} epochs of your log with `history.csv` of a run that is "
        f"recorded here, in `reports/full/runs/`: {_logs(found)}. And read what others found who were stuck: "
        f"`reports/full/README.md` lists {len(field_guide.CASES)} public threads, with the cause where they show one.",
    ]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1)) + f"\n\n{_in_your_own_code()}"


def _in_the_story(better: Config, worse: Config) -> list[str]:
    """What one is worth beyond the other in the story's hundred epochs, a phrase if both are recorded."""
    records = find_seeds(better, "full"), find_seeds(worse, "full")
    if not all(records):
        return []
    return [f"{compare(*records).number} points in {suspects.EPOCHS} epochs of the story's ResNet-20"]


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
conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)  # or your own width; no max-pool
augmentation = [RandomCrop(32, padding={config.crop}), RandomHorizontalFlip()]  # before ToTensor, Normalize(mean, std)
optimizer = SGD(model.parameters(), lr={config.lr:g}, momentum={config.momentum:g}, weight_decay={decay})
scheduler = MultiStepLR(optimizer, milestones={list(config.milestones)})  # step once per epoch
# {config.epochs} epochs, batches of {config.batch_size}
```"""
