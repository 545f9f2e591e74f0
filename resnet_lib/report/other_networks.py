"""What became of the networks that the story tells of beside ResNet-20."""

from __future__ import annotations

from resnet_lib.findings.comparison import accuracy_of, compare
from resnet_lib.findings.curves import curve, loss_end, mean_curve, overfits, underfits
from resnet_lib.findings.judgement import between, mean_accuracy
from resnet_lib.findings.recorded import in_those_recorded, runs_in_words
from resnet_lib.findings.sentences import loss_never_rose
from resnet_lib.questions import causes, story
from resnet_lib.questions.suspects import EPOCHS, OTHERS
from resnet_lib.questions.wording import reduced
from resnet_lib.records.find import find_seeds
from resnet_lib.records.record import Record
from resnet_lib.report.wording import in_range

CHECK = (
    "In the story's check torch.hub's network was trained by the same code, and ended near the first one{here}. That "
    "makes a fault in the first network's code unlikely. It says nothing about what both share: the training and, as "
    "the lab assumes, ImageNet's stem; nor about the network for CIFAR-10, which was not checked."
)


def told() -> str:
    """What those with ImageNet's stem reached, beside what the story tells, as a list."""
    parts = []
    for step, config in story.TOLD:
        records = find_seeds(config, "full")
        if records and config.architecture.shape == "imagenet":
            title = f"{config.architecture.title}, {config.epochs} epochs{reduced(config, ', {}')}"
            parts.append(f"{title} (the story: {step.claimed:g} %): {_reached(step, records)}")
            if config == story.BASELINE:
                parts[-1] += f" {loss_never_rose(records, 'full')}"
            parts[-1] += _changed() if config == causes.square()[causes.AS_IT_IS] else ""
    if not parts:
        return ""
    bullets = "\n".join(f"- {part}" for part in parts)
    title = "**The networks with ImageNet's stem**, with the assumed settings:"
    check = f"{CHECK.format(here=_agreement())} {unknown_stem()}".rstrip()
    return "\n\n".join(filter(None, [title, bullets, _below(), check]))


def _below() -> str:
    """How far those of a hundred epochs stay below what the story tells, at their best, too; empty if they do not."""
    found = [(step, find_seeds(config, "full")) for step, config in OTHERS]
    runs = [record for _, records in found for record in records]
    lacks = sorted(step.claimed - 100 * mean_accuracy(records) for step, records in found if records)
    if not lacks or lacks[0] <= 0:
        return ""
    best = 100 * max(curve(record, "accuracy").max() for record in runs)
    return (
        f"After {EPOCHS} epochs they end {in_range(lacks)} points below the story; the best epoch of "
        f"{runs_in_words(len(runs))} reached {best:.1f} %."
    )


def _agreement() -> str:
    """How far torch.hub's network ends from the first one, in words after a space; empty if unknown."""
    steps = [story.step(name) for name in ("04_torch_hub_check", "02_hundred_epochs")]
    theirs, own = (step.configs[step.headline] for step in steps)
    ends = [find_seeds(config, "full") for config in (theirs, own)]
    if not all(ends):
        return ""
    return f" (here {theirs.architecture.title} {compare(*ends, 'full').number} from {own.architecture.title})"


def _reached(step: story.Step, records: list[Record]) -> str:
    """Where runs that the story tells of ended, whether that is near what it tells, and how they fit."""
    reached = accuracy_of(records, "full")
    verdict = between(reached, *step.near)
    near = {"holds": "near", "does not hold": "not near"}.get(verdict, "near or not is undecided")
    if reached.seed_sd is None:
        low, high = step.near
        near += f" ({'near' if low < reached.mean < high else 'not near'} {in_those_recorded(len(records))})"
    return f"{reached}; {near}. {_over_or_under(records)}"


def _over_or_under(records: list[Record]) -> str:
    """The training accuracy and test loss of runs, and what they show, in a sentence."""
    fitted = f"Training accuracy ended at {100 * mean_curve(records, 'train_accuracy')[-1]:.1f} %"
    seen = {word: sum(map(sign, records)) for word, sign in (("overfit", overfits), ("underfit", underfits))}
    count = len(records)
    shown = [f"{n} of {runs_in_words(count)} {word}" if count > 1 else f"it {word}s" for word, n in seen.items() if n]
    return f"{fitted}, test loss {loss_end(records)}{': ' if shown else ''}{' and '.join(shown)}."


def _changed() -> str:
    """What changes make of torch.hub's ResNet-18, in sentences after a space."""
    ends = {name: find_seeds(one, "full") for name, one in causes.square().items() if name != causes.AS_IT_IS}
    said = [f" With “{name}”: {accuracy_of(found, 'full')}." for name, found in ends.items() if found]
    return "".join(said)


def unknown_stem() -> str:
    """What is not yet known of their stem, in a sentence; empty once it is."""
    if any(find_seeds(one, "full") for one in causes.square().values() if one.stem == "cifar"):
        return ""
    return "What the stem costs torch.hub's networks is not yet measured."
