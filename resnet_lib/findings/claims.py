"""What the story says in each of its steps, with verdicts computed from the records."""

from __future__ import annotations

from collections.abc import Collection

from resnet_lib.config import Config
from resnet_lib.findings.judgement import (
    UNDECIDED,
    Claim,
    in_a_table,
    or_diverged,
)
from resnet_lib.findings.sentences import (
    below_paper,
    better,
    hub_agrees,
    less_accurate,
    loss_falls,
    loss_never_rose,
    loss_settled,
    near,
    near_until_drop,
    no_drop_reached,
    underfitting,
)
from resnet_lib.questions import story
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.records.record import Record

# What “undecided” means, below a table of claims.
UNDECIDED_IS = "Undecided: the interval allows both, or too few runs show how much seeds differ."
TOO_SMALL = "Runs this small can neither confirm nor refute what the story says; those of the profile `full` can."


def page(notebook: str, runs: Runs, configs: dict[str, Config], profile: str) -> str:
    """The claims of one step, judged by the runs that its notebook shows, as a Markdown table.

    Of `configs` with other parameters than the story's, only what compares them with each other is judged.
    """
    step = story.step(notebook)
    others = {label: other_parameters(told, configs[label]) for label, told in step.configs.items() if label in configs}
    hidden = {label for label in step.configs if others.get(label, "left out")}
    judged = claims(notebook, runs, profile, hidden)
    said = [one for one in judged if one.verdict not in (NOT_YET, "diverged") or not hidden & {*_needed(one, step)}]
    parts = [in_a_table(said)] if said else []
    for what in dict.fromkeys(filter(None, others.values())):
        labels = ", ".join(f"“{label}”" for label, other in others.items() if other == what)
        parts.append(f"Not as in the story, which is judged by it only where runs are compared: {labels} ({what}).")
    if any(one.verdict == UNDECIDED for one in said):
        parts.append(f"*{UNDECIDED_IS if profile == 'full' else TOO_SMALL}*")
    return "\n\n".join(parts)


def other_parameters(told: Config, shown: Config) -> str:
    """What is otherwise in a config of a page than in the story's, in words; empty if nothing is."""
    if told.fingerprint == shown.fingerprint:
        return ""
    theirs, ours = (config.model_dump(mode="json") for config in (told, shown))
    return ", ".join(f"`{name}` {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name])


def verdicts(steps: dict[str, Runs], profile: str) -> str:
    """The claims of those steps of which one can be judged, as Markdown tables; empty if none can."""
    found = {story.step(name).title: claims(name, runs, profile) for name, runs in steps.items()}
    return "\n\n".join(
        f"**{title}**\n\n{in_a_table(judged)}"
        for title, judged in found.items()
        if any(claim.verdict != NOT_YET for claim in judged)
    )


def claims(notebook: str, runs: Runs, profile: str, hidden: Collection[str] = ()) -> list[Claim]:
    """What the story says in a notebook, judged by its runs; the same sentences in the same order at every profile.

    Runs of `hidden` labels are not those of the story, though a small profile may make them alike.
    """
    step = story.step(notebook)
    shown = {label: [] if label in hidden else runs.get(label, []) for label in step.configs}
    told = {label: _of(config.at(profile), shown[label]) for label, config in step.configs.items()}
    judged = JUDGES[notebook](step, told, runs, profile)
    return [_or_diverged(claim, step, told, profile) for claim in judged]


def _or_diverged(claim: Claim, step: story.Step, told: Runs, profile: str) -> Claim:
    """Of a claim that nothing is there to judge by: whether what it is about diverged."""
    return or_diverged(claim, *((step.configs[label], told[label]) for label in _needed(claim, step)), profile=profile)


def _needed(claim: Claim, step: story.Step) -> list[str]:
    """The labels of the runs that a claim is about: as it says, or else the headline."""
    return [*claim.about] or [step.headline]


def _of(config: Config, records: list[Record]) -> list[Record]:
    return [record for record in records if record.config.fingerprint == config.fingerprint]


# Of each step: what it says, judged by `told`, the runs with the story's parameters, or by whatever runs are `shown`.


def _ten_epochs(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    (records,) = told.values()
    about_loss = [loss_never_rose(records, profile), loss_settled(records, profile)]
    at_the_end = no_drop_reached(shown.get(step.headline, []))
    return [near(step, step.headline, records, profile), at_the_end, *about_loss, underfitting(records, profile)]


def _hundred_epochs(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    pairs = [
        ("no LR drop, more weight decay", "no LR drop"),
        ("two LR drops, more weight decay", "two LR drops"),
        ("one LR drop", "no LR drop"),
        ("two LR drops", "one LR drop"),
    ]
    compared = [better(*pair, shown, profile, step.named) for pair in pairs]
    falling = loss_falls({step.headline: told[step.headline]}, profile)
    return [falling, *compared, *at_the_end_and_before(step, step.headline, told, profile)]


def _architecture(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    headline = told[step.headline]
    about_accuracy = at_the_end_and_before(step, step.headline, told, profile)
    ours, own = _first_network(profile)
    beside = or_diverged(less_accurate(headline, own, profile), (ours, own), profile=profile)
    return [*about_accuracy, beside, loss_settled(headline, profile), below_paper(headline, profile)]


def _hub(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    judged = [claim for label in step.told for claim in at_the_end_and_before(step, label, told, profile)]
    ours, own = _first_network(profile)
    return [*judged, or_diverged(hub_agrees(told[step.headline], own, profile), (ours, own), profile=profile)]


def _first_network(profile: str) -> tuple[Config, list[Record]]:
    """The story's first network in a hundred epochs, and its runs."""
    (ours,) = story.headlines("02_hundred_epochs").values()
    return ours, find_seeds(ours.at(profile), profile)


JUDGES = {
    "01_ten_epochs": _ten_epochs,
    "02_hundred_epochs": _hundred_epochs,
    "03_cifar_architecture": _architecture,
    "04_torch_hub_check": _hub,
}


def at_the_end_and_before(step: story.Step, label: str, runs: Runs, profile: str) -> list[Claim]:
    """The story's accuracy of the runs of a label, at their end and until their learning rate drops."""
    return [judge(step, label, runs[label], profile) for judge in (near, near_until_drop)]
