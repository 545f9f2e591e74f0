"""What to check in a network of one's own that stops at 80 %: the signs, and what they were worth in the records."""

from __future__ import annotations

import shlex

from resnet_lib.findings import changes, comparison, evidence
from resnet_lib.findings.curves import (
    FITTED,
    GAP,
    HIGH,
    LOSS_TREND,
    LOW,
    SETTLED,
    drop_gains,
    loss_rise,
    mean_curve,
    overfits,
    rise_by_chance,
)
from resnet_lib.findings.own_signs import Check
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.questions import causes, factorial, field_guide, paper_runs, story, suspects, wording
from resnet_lib.questions.causes import HALF
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.records.find import find_seeds
from resnet_lib.report import learning_rate, logs, own_code
from resnet_lib.report.wording import in_range, listed, percent

SMALL = causes.FACTORS[causes.RATE].suspect.label
SIDE, HUB_SIDE = 8, 4  # of the last maps: 32 pixels, halved twice; by torchvision's networks three times


def checklist(runs: str, threads: str, folder: str) -> str:
    """What to look for, in this order, if one's own network stops at 80 %, with what it cost in the `full` records.

    `runs` and `threads` are where these and the field guide are, as seen from where the text stands; `folder` is where
    the runs are, as seen from where commands are called.
    """
    items = {
        Check.CODE: _code(),
        Check.RATE: _learning_rate(),
        Check.OVERFITTING: _overfitting(),
        Check.UNDERFITTING: _underfitting(),
        Check.ELSE: _else(runs, threads, folder),
    }
    numbered = [f"{number}. {items[number]}" for number in Check]
    said = (
        f"Check in this order. `resnet-lab diagnose LOG.csv` checks items {Check.RATE:d} to {Check.UNDERFITTING:d} "
        f"in your own log (see item {Check.ELSE:d}). Unless stated otherwise, numbers are for ResNet-20 in "
        f"{suspects.EPOCHS} epochs, with the settings the lab assumes for the story: "
        f"{wording.training(suspects.changed())}. Adam was not measured."
    )
    return "\n\n".join([said, "\n".join(numbered), own_code.settings()])


def _code() -> str:
    cost = comparison.worth(causes.STEM)
    worth = f": 3×3 is worth {(-cost).number} to ResNet-20" if cost else ""
    return _with_parts(
        "**Is the network one for 32×32 images, and the code right?**",
        "*Stem*: it should be one 3×3 convolution of stride 1, without max-pool. ImageNet's (7×7, stride 2, "
        f"max-pool) are not for such images{worth}. Look at the shape before global pooling: {SIDE}×{SIDE} in the "
        f"paper's networks, {HUB_SIDE}×{HUB_SIDE} in torchvision's with a 3×3 stem; 2×2 or 1×1 means ImageNet's stem.",
        "*Blocks*: the shortcut is added before the last ReLU, and adapted where the size or the number of the feature "
        f"maps changes. ResNet-20 has {TABLE_6['resnet20'].parameters:g} million parameters: with several times as "
        "many, yours is another network; with fewer, layers may be missing from it, such as those in a Python list "
        "instead of an `nn.ModuleList`.",
        "*Data*: normalised; shuffled every epoch, each image with its label; test images without augmentation.",
        "*Loop*: logits into the loss, no softmax before it; gradients zeroed at every step; train mode to train, eval "
        "mode to evaluate; momentum set (`torch.optim.SGD` has none unless told); the schedule stepped once per epoch "
        "if its milestones are epochs.",
        "*Test*: train on a single batch over and over: it soon reaches 100 %. If not, the code is wrong.",
    )


def _learning_rate() -> str:
    return _with_parts(
        "**Did the learning rate come down?** Log it; divide it by ten after half and three quarters of the training. "
        f"To test your training, continue for {SETTLED} epochs at a tenth of the rate, and compare their mean test "
        f"accuracy with that of the {HIGH} epochs before (single epochs jump about). If it rose by more than it does "
        "by chance, the rate was too high to end with, perhaps among other faults; less says nothing.",
        *_drops_seen(),
        *_small_rate(),
    )


def _drops_seen() -> list[str]:
    """What the first drop gave in the records, and the same comparison where there was none."""
    cells = evidence.find_cells(suspects.EPOCHS, "full")
    by_decay = evidence.by_decay(cells)
    gains = {
        decay: found for decay, records in by_decay.items() if (found := [100 * one for one in drop_gains(records)])
    }
    if not gains:
        return []
    gave = [
        f"{in_range(found)} points in {runs_in_words(len(found))} with {wording.scientific(decay)}"
        for decay, found in gains.items()
    ]
    most = {decay: 100 * max(0.0, *map(rise_by_chance, by_decay[decay])) for decay in gains}
    chance = " and ".join(
        f"{rise:.1f} points with a weight decay of {wording.scientific(decay)} ({runs_in_words(len(by_decay[decay]))})"
        for decay, rise in most.items()
    )
    rate = ", ".join([f"a rate of {story.TUNED.lr:g}", *_kinds(cells)])
    return [
        f"By chance, without a drop, it rose by at most {chance}, at any epoch from a quarter of the training on. In "
        f"{cells.epochs} epochs of ResNet-20 at {rate}, the first drop gave {' and '.join(gave)}. Other weight decays "
        "were not measured.",
        *learning_rate.twins(cells),
    ]


def _small_rate() -> list[str]:
    """What it costs to begin at a smaller rate."""
    rate = causes.FACTORS[causes.RATE].suspect.fields
    costs = {
        config.architecture.title: cost
        for config in (suspects.changed(), *(config for _, config in suspects.OTHERS))
        if (cost := comparison.change(config.replace(**rate), config))
    }
    if not costs:
        return []
    begin = f"Start SGD with momentum at {story.TUNED.lr:g}. " if all(cost.mean < 0 for cost in costs.values()) else ""
    each = [f"{title} {cost.number} (n = {cost.seeds})" for title, cost in costs.items()]
    return [f"{begin}Effect of a rate of {SMALL} after {suspects.EPOCHS} epochs, with the same drops: {listed(each)}."]


def _kinds(cells: evidence.Cells) -> list[str]:
    """What the runs at the story's learning rate differ in beside weight decay."""
    seen = [levels for levels in cells.recorded if levels[causes.RATE] == cells.start[causes.RATE]]
    told = {causes.STEM: "with either stem", causes.AUGMENTATION: "with or without crops and flips"}
    return [words for factor, words in told.items() if len({levels[factor] for levels in seen}) > 1]


def _overfitting() -> str:
    found = changes.runs("full")
    others = {suspects.WRONG_STEM: "ImageNet's stem", suspects.SMALL_RATE: f"a learning rate of {SMALL}"}
    alike = [what for label, what in others.items() if any(map(overfits, found.get(label, [])))]
    first = f"With {' or '.join(alike)} it looks the same: fix that first. " if alike else ""
    first += logs.before_the_drop(found) if others[suspects.SMALL_RATE] in alike else ""
    gain = comparison.worth(causes.AUGMENTATION)
    short = _in_ten_epochs(causes.AUGMENTATION)
    worth = f": {gain.number} for ResNet-20" if gain else ""
    return (
        f"**Does it overfit?** Training accuracy, as measured during training, ends at {100 * FITTED:g} % or more, and "
        f"test loss more than {100 * LOSS_TREND:g} % above its minimum. {first}Add random crops (4 pixels of padding) "
        f"and flips{worth}.{_on_the_hub()} A short training may "
        f"gain little from them{f': {short}' if short else ''}.{_in_good_ones()}"
    )


def _in_good_ones() -> str:
    """What the sign is worth in a network that has crops and flips already, in a sentence after a space."""
    paper = find_seeds(paper_runs.table_6()["ResNet-20"], "full")
    if not paper or not all(map(overfits, paper)):
        return ""
    fitted, rise = 100 * mean_curve(paper, "train_accuracy")[-1], 100 * loss_rise(paper)
    return (
        " If you have crops and flips already, ignore these signs: a good training shows them, too (the lab's by the "
        f"paper's settings ends at {percent(paper)}, with a training accuracy of {fitted:.1f} % and a test loss "
        f"{rise:.0f} % above its minimum; {runs_in_words(len(paper))})."
    )


def _on_the_hub() -> str:
    """What crops and flips make of the hub's network as it is, in a sentence after a space."""
    plain, augmented, *_ = causes.square().values()
    before, after = (find_seeds(one, "full") for one in (plain, augmented))
    if not before or not after:
        return ""
    n = f"n = {len(before)} and {len(after)}"
    return f" They took torch.hub's ResNet-18, unchanged, from {percent(before)} to {percent(after)} ({n})."


def _underfitting() -> str:
    rate, gain = causes.FACTORS[causes.RATE], _in_ten_epochs(causes.RATE)
    small = f"{rate.paper.label} instead of {rate.suspect.label}"
    worth = f" (ResNet-20, {small}: {gain}{_of_resnet50()})" if gain else ""
    return (
        f"**Does it underfit?** Training accuracy below {100 * LOW:g} %, and within {100 * GAP:g} points of test "
        f"accuracy. See item {Check.RATE:d} first, for a rate still too high looks the same; then the stem; then train "
        f"longer, or raise a small rate{worth}.{_between()}"
    )


def _of_resnet50() -> str:
    """What the same did to the story's first network, after a semicolon."""
    small = story.BASELINE.replace(**causes.FACTORS[causes.RATE].suspect.fields)
    known = comparison.change(story.BASELINE, small)
    title, epochs = story.BASELINE.architecture.title, story.BASELINE.epochs
    return f"; {title}, {epochs} epochs: {known.number}, n = {known.seeds}" if known else ""


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
        f" A wrong stem may show the signs of neither item {Check.OVERFITTING:d} nor item {Check.UNDERFITTING:d}: "
        "with crops and flips, the training accuracy of ResNet-20 ended at "
        f"{with_imagenets} with ImageNet's, at {with_3x3} with the 3×3 one."
    )


def _else(runs: str, threads: str, folder: str) -> str:
    return _with_parts(
        "**None of these?**",
        "`resnet-lab diagnose LOG.csv`, once the lab is installed, looks for these signs in your own log, and names "
        "the recorded runs most like it. The log needs a row per epoch, ten or more, with `test_accuracy` or "
        "`val_accuracy`, and if you have them `train_accuracy`, `test_loss` and `lr`; the usual names of Keras and "
        f"Lightning will do.{_example(folder)}",
        f"Compare with logs of the lab (training accuracy at the end of each learning rate): {logs.links(runs)}.",
        f"See others who were stuck: [{len(field_guide.CASES)} public threads]({threads}); "
        f"{sum(bool(case.cause) for case in field_guide.CASES)} name a cause, if only as a guess.",
    )


def _example(folder: str) -> str:
    """What to try `diagnose` on, in a sentence after a space."""
    log = next((found[0].path.name for found in logs.instructive().values()), None)
    return f" To try it: `resnet-lab diagnose {shlex.quote(f'{folder}/{log}/history.csv')}`." if log else ""


def _with_parts(first: str, *parts: str) -> str:
    """An item of the list, and what it consists of."""
    return "\n".join([first, *(f"   - {part}" for part in parts)])


def _in_ten_epochs(factor: int) -> str:
    """What making a choice as the paper does is worth in ten epochs, on average over the other choices."""
    cells = evidence.find_cells(10, "full")
    if not cells.have(HALF):
        return ""
    effect = evidence.weigh(factorial.effect((factor,), HALF), cells)
    return f"{effect.number} (individual interval) on average over settings of {cells.epochs} epochs"
