"""What became of the networks that the story tells of beside ResNet-20, in paragraphs."""

from __future__ import annotations

from resnet_lib.architecture import HUB_NOT_REACHED, Architecture
from resnet_lib.findings import evidence, sentences
from resnet_lib.findings.curves import HIGH, first_drop, loss_end, mean_curve, overfits, underfits
from resnet_lib.findings.judgement import between
from resnet_lib.findings.recorded import in_those_recorded, runs_in_words
from resnet_lib.questions import causes, story
from resnet_lib.questions.wording import reduced
from resnet_lib.records.find import find_seeds
from resnet_lib.records.record import Record
from resnet_lib.report.wording import percent

CHECK = (
    "The story's check changed the network alone: it clears the code of the story's first network, and neither the "
    "training nor the stem, for that network and torch.hub's both have ImageNet's."
)


def torch_hub() -> str:
    """What became of the story's sanity check, and what another stem and augmentation make of it."""
    step = story.step("04_torch_hub_check")
    square = {name: find_seeds(config, "full") for name, config in causes.square().items()}
    told = {label: find_seeds(step.configs[label], "full") for label in step.told}
    changed = {name: found for name, found in square.items() if found and name != causes.AS_IT_IS}
    said = [
        f"With the story's settings {_of_the_story(step, found)}{_while_high(step, label, found)}"
        for label, found in told.items()
        if found
    ]
    said += [
        f"With “{name}” {Architecture(found[0].config.model).title} came to {evidence.accuracy_of(found, 'full')}."
        for name, found in changed.items()
    ]
    every = [record for found in [*told.values(), *changed.values()] for record in found]
    if every and all(HUB_NOT_REACHED in record.result["model_source"] for record in every):
        said.append(
            "The hub itself was reached in none of these runs: the networks are those of the torchvision installed "
            "here, whose code is what the hub loads."
        )
    return " ".join([f"**torch.hub's {step.claimed:g} %.**", CHECK, *said]) if said else ""


def resnet50() -> str:
    """What became of the story's first network."""
    paragraphs = []
    for step in (story.step("01_ten_epochs"), story.step("02_hundred_epochs")):
        if records := find_seeds(step.configs[step.headline], "full"):
            title = f"**The {step.claimed:g} % after {step.title.lower()}.**"
            high = _while_high(step, step.headline, records) if records[0].history[-1]["drops"] else ""
            paragraphs.append(f"{title} {_of_the_story(step, records)}{high}{_of_resnet20(step)}")
    return "\n\n".join(paragraphs)


def _of_resnet20(step: story.Step) -> str:
    """What ResNet-20 came to in the same epochs, in a sentence after a space, where these are few."""
    label = "ResNet-20, 10 epochs"
    found = find_seeds(story.step("03_cifar_architecture").configs[label], "full")
    if step.configs[step.headline].epochs != 10 or not found:
        return ""
    return f" In as many epochs ResNet-20 reached {percent(found)} ({runs_in_words(len(found))})."


def _of_the_story(step: story.Step, records: list[Record]) -> str:
    """What runs that the story tells of reached, whether that is near what it tells, and how they fit."""
    reached, relation = evidence.accuracy_of(records, "full"), f"near the story's {step.about}"
    told = {"holds": f"That is {relation}", "does not hold": f"That is not {relation}"}
    undecided = f"Whether that is {relation} is undecided"
    if reached.seed_sd is None:
        low, high = step.near
        place = relation if low < reached.mean < high else f"not {relation}"
        undecided = f"That is {place} {in_those_recorded(len(records))}, which cannot show how much seeds differ"
    nearness = told.get(between(reached, *step.near), undecided)
    config = records[0].config
    how = reduced(config, ", in {},")
    return f"{Architecture(config.model).title}{how} reached {reached}. {nearness}. {_over_or_under(records)}"


def _while_high(step: story.Step, label: str, records: list[Record]) -> str:
    """Where they stood until their learning rate dropped, if that was elsewhere than the story says of their end."""
    if sentences.near_until_drop(step, label, records, "full").verdict != "does not hold":
        return ""
    level = 100 * first_drop(records).before.mean()
    return (
        f" Over the {HIGH} epochs before its learning rate first dropped it averaged {level:.1f} %, not near "
        f"{step.claimed:g} %."
    )


def _over_or_under(records: list[Record]) -> str:
    """The training accuracy and test loss of runs, and what they show, in a sentence."""
    fitted = f"Training accuracy ended at {100 * mean_curve(records, 'train_accuracy')[-1]:.1f} %"
    seen = {word: sum(map(sign, records)) for word, sign in (("overfit", overfits), ("underfit", underfits))}
    count = len(records)
    shown = [f"{n} of {runs_in_words(count)} {word}" if count > 1 else f"it {word}s" for word, n in seen.items() if n]
    return f"{fitted}, test loss {loss_end(records)}{': ' if shown else ''}{' and '.join(shown)}."
