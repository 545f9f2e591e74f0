"""What to check in a network of one's own that stops at 80 %: the signs, and what they were worth in the records."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings import changes, evidence
from resnet_lib.findings.curves import (
    FITTED,
    GAP,
    HIGH,
    LOSS_TREND,
    LOW,
    SETTLED,
    drop_gains,
    first_drop,
    loss_rise,
    mean_curve,
    overfits,
    rise_by_chance,
)
from resnet_lib.findings.own_signs import Check
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.questions import causes, factorial, field_guide, paper_runs, story, suspects
from resnet_lib.questions.causes import HALF
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.questions.wording import scientific
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.records.record import Record
from resnet_lib.report import own_code
from resnet_lib.report.wording import in_range, percent

SIDE, HUB_SIDE = 8, 4  # of the last maps: 32 pixels, halved twice; by torchvision's networks three times


def checklist(runs: str, threads: str) -> str:
    """What to look for, in this order, if one's own network stops at 80 %, with what it cost in the `full` records.

    `runs` and `threads` are where these and the field guide are, as seen from where the text stands.
    """
    items = {
        Check.CODE: _code(),
        Check.RATE: _learning_rate(),
        Check.OVERFITTING: _overfitting(),
        Check.UNDERFITTING: _underfitting(),
        Check.ELSE: _else(runs, threads),
    }
    numbered = [f"{number}. {items[number]}" for number in Check]
    return "\n\n".join([f"Look in this order. {_scope()}", "\n".join(numbered), own_code.settings()])


def _scope() -> str:
    said = "What a change was worth was measured on ResNet-20, unless another network is named."
    if not any(find_seeds(one, "full") for one in causes.square().values() if one.stem == "cifar"):
        said += " torchvision's networks with a 3×3 stem are not yet run here."
    return said


def _code() -> str:
    gain = _worth(causes.STEM)
    worth = f": 3×3 was worth {gain}" if gain else ""
    return _with_parts(
        "**The code, before the curves.**",
        "The first layers (the stem) are, for 32×32 images, one 3×3 convolution of stride 1, without max-pool. "
        f"ImageNet's (7×7, stride 2, max-pool) is not for them{worth}.",
        f"The shape before global pooling is {SIDE}×{SIDE} in the paper's networks, {HUB_SIDE}×{HUB_SIDE} in "
        "torchvision's with a 3×3 stem; 2×2 or 1×1 is ImageNet's.",
        "The shortcut is added before a block's last ReLU; where the size of the maps or their number changes, it "
        "has to change, too.",
        "Images are normalised, and shuffled every epoch together with their labels.",
        "The loss takes logits, without a softmax before it; gradients are zeroed at every step.",
        "The network is in train mode while it trains, in eval mode while it is evaluated, on images without "
        "augmentation.",
        "The schedule steps once per epoch if its milestones are epochs.",
        f"ResNet-20 has {TABLE_6['resnet20'].parameters:g} million parameters: with several times as many, yours is "
        "another network; with fewer, some layers may be missing from it, as those in a Python list instead of an "
        "`nn.ModuleList`, which never train.",
        "A single batch, trained on again and again, is soon fitted to 100 %. If not, the code is wrong.",
        "All of this was measured with SGD and momentum 0.9, which `torch.optim.SGD` has not unless told, and not with "
        "Adam; `--recipe fast` has Muon.",
    )


def _learning_rate() -> str:
    return _with_parts(
        "**Was the learning rate still high at the end?** Log it every epoch; let it drop tenfold after a half and "
        f"three quarters of the training. To see whether it was too high, train on for {SETTLED} epochs at a tenth of "
        f"it, and compare the mean of their test accuracies with that of the {HIGH} epochs before: single epochs jump "
        "about.",
        *_drops_seen(),
    )


def _drops_seen() -> list[str]:
    """What the first drop gave in the records, and what chance gave where there was none."""
    cells = evidence.find_cells(suspects.EPOCHS, "full")
    gains = list(filter(None, (_gain(decay, records) for decay, records in evidence.by_decay(cells).items())))
    seen = [
        f"In {cells.epochs} epochs of ResNet-20 the first drop gave {', and '.join(gains)}. Chance is the most that "
        "the same comparison gave where the rate did not change; a rise within it says nothing."
    ]
    if recipe := cells.records[causes.PAPER]:
        held, decay = 100 * first_drop(recipe).before, scientific(recipe[0].config.weight_decay)
        lowest, runs = np.floor(held.min()), runs_in_words(len(recipe))
        seen.append(
            f"With crops, flips and a weight decay of {decay} it averaged {held.mean():.0f} % over the {HIGH} epochs "
            f"before its first drop, and no less than {lowest:.0f} % ({runs}): if yours, trained the same way, stays "
            "below, something else is probably wrong as well."
        )
    return seen if gains else []


def _gain(decay: float, records: list[Record]) -> str:
    """What the first drop gave those of the runs that made one, and what chance gave them all; empty if none did."""
    gains = [100 * gain for gain in drop_gains(records)]
    if not gains:
        return ""
    chance = 100 * max(0.0, *map(rise_by_chance, records))
    runs = runs_in_words(len(gains))
    without = f"chance: {chance:.1f}"
    return f"{in_range(gains)} points in {runs} with a weight decay of {scientific(decay)} ({without})"


def _overfitting() -> str:
    worth = _worth(causes.AUGMENTATION)
    looks_alike = any(map(overfits, changes.runs("full").get(suspects.WRONG_STEM, [])))
    return (
        f"**Does it overfit?** Training accuracy {100 * FITTED:g} % or more (the mean of an epoch, measured while it "
        "trains, on the images as they are trained on), test loss ending more than "
        f"{100 * LOSS_TREND:g} % above its minimum: add random crops (4 pixels of padding) and flips. They make the "
        f"images harder to fit, so a short training may gain little from them{f' ({worth})' if worth else ''}."
        f"{_on_the_hub()}{' With the wrong stem it looks like this, too: see to that first.' if looks_alike else ''}"
        f"{_in_good_ones()}"
    )


def _in_good_ones() -> str:
    """What the sign is worth in a network that has crops and flips already, in a sentence after a space."""
    paper = find_seeds(paper_runs.table_6()["ResNet-20"], "full")
    if not paper or not all(map(overfits, paper)):
        return ""
    fitted, rise = 100 * mean_curve(paper, "train_accuracy")[-1], 100 * loss_rise(paper)
    return (
        " Once crops and flips are in, the sign alone explains nothing: the paper's own training shows it (training "
        f"accuracy {fitted:.1f} %, test loss {rise:.0f} % above its minimum), and ends at {percent(paper)} "
        f"({runs_in_words(len(paper))})."
    )


def _on_the_hub() -> str:
    """What crops and flips make of the hub's network as it is, in a sentence after a space."""
    plain, augmented, *_ = causes.square().values()
    before, after = (find_seeds(one, "full") for one in (plain, augmented))
    if not before or not after:
        return ""
    n = f"n = {len(before)} and {len(after)}"
    return f" They took torchvision's unchanged ResNet-18 from {percent(before)} to {percent(after)} ({n})."


def _underfitting() -> str:
    return (
        f"**Does it underfit?** Training accuracy below {100 * LOW:g} %, and within {100 * GAP:g} points of test "
        f"accuracy. A rate still too high looks like this, too: see to item {Check.RATE:d} first. Then raise a small "
        f"learning rate{_of_the_rate()}, look at the stem again, lighten a heavy weight decay, and only then train "
        f"longer.{_between()}"
    )


def _of_the_rate() -> str:
    rate, gain = causes.FACTORS[causes.RATE], _worth(causes.RATE)
    return f" ({rate.paper.label} instead of {rate.suspect.label} was worth {gain})" if gain else ""


def _between() -> str:
    """Of runs that show neither sign, and are stopped by their stem all the same, in a sentence after a space."""
    found = changes.runs("full")
    wrong, right = (found.get(label) for label in (suspects.STEM_AUGMENTED, suspects.AUGMENTED))
    if not wrong or not right:
        return ""
    ends = [mean_curve(records, "train_accuracy")[-1] for records in (wrong, right)]
    if not LOW < ends[0] < FITTED:
        return ""
    of_each = zip(ends, (wrong, right), strict=True)
    with_imagenets, with_3x3 = (f"{100 * end:.0f} % ({runs_in_words(len(records))})" for end, records in of_each)
    return (
        " The stem may be wrong where neither sign shows, too: with crops and flips, ResNet-20 ended with "
        f"{with_imagenets} of its training images right where it had ImageNet's, with {with_3x3} where it had the 3×3 "
        "one."
    )


def _else(runs: str, threads: str) -> str:
    return _with_parts(
        "**None of these is clear?**",
        "`resnet-lab diagnose LOG.csv`, once the lab is installed, looks for these signs in a log of yours, and says "
        "which recorded runs are most like it, and whether any is close. The log has a row for each epoch, ten or "
        "more, with `test_accuracy` or `val_accuracy`, and if you have them `train_accuracy`, `test_loss` and `lr`; "
        "logs of Keras and Lightning mostly have these names, or `val/acc` and the like, which will do."
        f"{_example()}",
        f"Or look at logs of the lab, here with the training accuracy at the end of each learning rate: {_logs(runs)}.",
        f"Or read of others who were stuck: [{len(field_guide.CASES)} public threads]({threads}), of which "
        f"{sum(bool(case.cause) for case in field_guide.CASES)} tell a cause.",
    )


def _example() -> str:
    """What to try `diagnose` on, in a sentence after a space."""
    log = next((found[0].path.name for found in _instructive().values()), None)
    return (
        f" To try it on a log of the lab's: `resnet-lab diagnose reports/full/runs/{log}/history.csv`." if log else ""
    )


def _with_parts(first: str, *parts: str) -> str:
    """An item of the list, and what it consists of."""
    return "\n".join([first, *(f"   - {part}" for part in parts)])


def _worth(factor: int) -> str:
    """What making a choice as the paper does is worth in a hundred epochs and in ten, as far as recorded."""
    parts = []
    if difference := evidence.worth("full", factor):
        gain = difference if causes.HUNDRED[factor] < 0 else -difference
        parts.append(f"{gain.number} in {suspects.EPOCHS} epochs of the story's ResNet-20")
    cells = evidence.find_cells(10, "full")
    if cells.have(HALF):
        effect = evidence.weigh(factorial.effect((factor,), HALF), cells)
        parts.append(f"{effect.number} on average in runs of {cells.epochs} epochs")
    return " and ".join(parts)


def _instructive() -> Runs:
    """Runs of which one may look like the reader's: those of the answer, and one of many people's settings."""
    hub = find_seeds(causes.square()[causes.AS_IT_IS], "full")
    return changes.runs("full") | ({"torch.hub's ResNet-18": hub} if hub else {})


def _logs(folder: str) -> str:
    """Links to the logs of instructive runs, with how well each fitted its images before the rate changed or ended."""
    parts = []
    for label, records in _instructive().items():
        drops, fitted = (np.array([row[key] for row in records[0].history]) for key in ("drops", "train_accuracy"))
        ends = [f"{100 * fitted[drops == drop][-HIGH:].mean():.0f}" for drop in sorted(set(drops))]
        log = f"{folder}/{records[0].path.name}/history.csv"
        parts.append(f"[{label}]({log}) ({', then '.join(ends)} %)")
    return ", ".join(parts) or story.NOT_YET
