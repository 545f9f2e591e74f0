"""Sentences of the story whose numbers and verdicts are computed from the records."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from resnet_lib.config import Config
from resnet_lib.findings.curves import (
    GAP,
    HIGH,
    LOSS_TREND,
    LOW,
    SETTLED,
    curve,
    first_drop,
    loss_end,
    loss_rise,
    underfits,
)
from resnet_lib.findings.evidence import accuracy_of
from resnet_lib.findings.judgement import (
    UNDECIDED,
    Claim,
    Verdict,
    between,
    compare,
    decide,
    needs,
    or_diverged,
    positive,
    runs_in_words,
)
from resnet_lib.findings.stats import MIN_SEEDS, Estimate
from resnet_lib.questions import story
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.records.record import Record

AGREE = 0.02  # largest difference (share of the images) of two networks that "agree"


UNDECIDED_IS = {  # what the word means, below a list of claims
    True: "Undecided: the interval allows both, or too few runs show how much seeds differ.",
    False: "Runs of this size decide none of what the story says of accuracies and losses; at `full` it is judged.",
}


def page(notebook: str, runs: Runs, configs: dict[str, Config], profile: str) -> str:
    """The claims of one step, judged by the runs that its notebook shows, as a Markdown list.

    Of `configs` with other parameters than the story's, only what compares them with each other is judged.
    """
    step = story.step(notebook)
    others = {label: other_parameters(told, configs[label]) for label, told in step.configs.items() if label in configs}
    hidden = {label for label in step.configs if others.get(label, "left out")}
    judged = claims(notebook, runs, profile)
    said = [one for one in judged if one.verdict not in (NOT_YET, "diverged") or not hidden & {*_named(one, step)}]
    lines = [str(claim) for claim in said]
    for what in dict.fromkeys(filter(None, others.values())):
        labels = ", ".join(f"“{label}”" for label, other in others.items() if other == what)
        lines.append(f"Not as in the story, which is not judged by it: {labels} ({what}).")
    text = "\n".join(f"- {line}" for line in lines)
    return f"{text}\n\n*{UNDECIDED_IS[profile == 'full']}*" if UNDECIDED in text else text


def other_parameters(told: Config, shown: Config) -> str:
    """What is otherwise in a config of a page than in the story's, in words; empty if nothing is."""
    if told.fingerprint == shown.fingerprint:
        return ""
    theirs, ours = (config.model_dump(mode="json") for config in (told, shown))
    return ", ".join(f"`{name}` {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name])


def verdicts(steps: dict[str, Runs], profile: str) -> str:
    """Every claim of every step, as a Markdown list."""
    parts = []
    for name, runs in steps.items():
        step = story.step(name)
        parts.append(f"**{step.title}**\n\n" + "\n".join(f"- {claim}" for claim in claims(name, runs, profile)))
    return "\n\n".join(parts)


def claims(notebook: str, runs: Runs, profile: str) -> list[Claim]:
    """What the story says in a notebook, judged by its runs; the same sentences in the same order at every profile."""
    step = story.step(notebook)
    told = {label: _of(config.at(profile), runs.get(label, [])) for label, config in step.configs.items()}
    judged = JUDGES[notebook](step, told, runs, profile)
    return [_or_diverged(claim, step, told, profile) for claim in judged]


def _or_diverged(claim: Claim, step: story.Step, told: Runs, profile: str) -> Claim:
    """Of a claim that nothing is there to judge by: whether what it is about diverged."""
    return or_diverged(claim, *((step.configs[label], told[label]) for label in _named(claim, step)), profile=profile)


def _named(claim: Claim, step: story.Step) -> list[str]:
    """The labels of the runs that a claim is about: those that it names, or else the headline."""
    return [label for label in step.configs if f"“{label}”" in claim.text] or [step.headline]


def _of(config: Config, records: list[Record]) -> list[Record]:
    return [record for record in records if record.config.fingerprint == config.fingerprint]


# Of each step: what it says, judged by `told`, the runs with the story's parameters, or by whatever runs are `shown`.


def _ten_epochs(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    (records,) = told.values()
    about_loss = [loss_never_rose(records, profile), loss_settled(records, profile)]
    at_the_end = no_drop_reached(next((records for records in shown.values() if records), []))
    return [near(step, step.headline, records, profile), at_the_end, *about_loss, underfitting(records, profile)]


def _hundred_epochs(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    pairs = [
        ("more weight decay", "no LR drop"),
        ("two LR drops, more weight decay", "two LR drops"),
        ("one LR drop", "no LR drop"),
        ("two LR drops", "one LR drop"),
    ]
    compared = [better(*pair, shown, profile) for pair in pairs]
    own = {label: told[label] for label, config in step.configs.items() if config.model == story.BASELINE.model}
    return [loss_falls(own, profile), *compared, *at_the_end_and_before(step, step.headline, told, profile)]


def _architecture(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    headline = told[step.headline]
    about_accuracy = at_the_end_and_before(step, step.headline, told, profile)
    return [*about_accuracy, loss_settled(headline, profile), below_paper(headline, profile)]


def _hub(step: story.Step, told: Runs, shown: Runs, profile: str) -> list[Claim]:
    judged = [claim for label in step.told for claim in at_the_end_and_before(step, label, told, profile)]
    return [*judged, hub_agrees(told[step.headline], profile)]


JUDGES = {
    "01_ten_epochs": _ten_epochs,
    "02_hundred_epochs": _hundred_epochs,
    "03_cifar_architecture": _architecture,
    "04_torch_hub_check": _hub,
}


def at_the_end_and_before(step: story.Step, label: str, runs: Runs, profile: str) -> list[Claim]:
    """The story's accuracy of the runs of a label, at their end and until their learning rate drops."""
    return [judge(step, label, runs[label], profile) for judge in (near, near_until_drop)]


def near(step: story.Step, label: str, records: list[Record], profile: str) -> Claim:
    """The story's accuracy, give or take `story.NEAR`."""
    text = f"“{label}” reaches about {step.claimed:g} % test accuracy (± {100 * story.NEAR:g} points)"

    def judge(records: list[Record]) -> tuple[Verdict, Estimate]:
        estimate = accuracy_of(records, profile)
        return between(estimate, *step.near), estimate

    return decide(text, profile, judge, records)


def near_until_drop(step: story.Step, label: str, records: list[Record], profile: str) -> Claim:
    """The same of the epochs before the learning rate first drops: where a run stays whose drops never come."""
    text = f"Over the last {HIGH} epochs before its learning rate first drops, “{label}” averages about {step.about}"

    def judge(records: list[Record]) -> tuple[Verdict, str]:
        drop = first_drop(records)
        mean, low, high = (100 * value for value in (drop.before.mean(), drop.before.min(), drop.before.max()))
        after = f"{100 * drop.after.mean():.1f} % in the {SETTLED} epochs after the drop"
        low_edge, high_edge = step.near
        verdict, seen = _of_each(low_edge < level < high_edge for level in drop.before.mean(axis=1))
        return verdict, f"{mean:.1f} %, between {low:.1f} and {high:.1f}; {after}; {seen}"

    return decide(text, profile, judge, records)


def no_drop_reached(records: list[Record]) -> Claim:
    """A fact about the runs shown, whatever their parameters: decidable at every profile."""
    text = "The run ends before its learning rate drops"
    if not records:
        return Claim(text, NOT_YET)
    config, happened = records[0].config, max(record.history[-1]["drops"] for record in records)
    if not config.milestones:
        return Claim(text, "does not hold", "none was scheduled")
    where = " and ".join(map(str, config.milestones))
    unit = "iterations" if config.iterations else "epochs"
    evidence = f"drops after {where} {unit}, the run has {config.iterations or config.epochs}"
    return Claim(text, "does not hold" if happened else "holds", evidence)


def loss_never_rose(records: list[Record], profile: str) -> Claim:
    """Taken at its word: no epoch of any run above the one before."""

    def judge(records: list[Record]) -> tuple[Verdict, str]:
        worst = [max(0.0, float(np.diff(curve(record, "loss")).max())) for record in records]
        if not any(worst):
            return "holds", f"in {runs_in_words(len(records))}"
        rose = sum(rise > 0 for rise in worst)
        return "does not hold", f"it rose in {rose} of {runs_in_words(len(records))}, by up to {max(worst):.3f}"

    return decide("Test loss never rose from one epoch to the next", profile, judge, records)


def loss_settled(records: list[Record], profile: str) -> Claim:
    """The same as it was meant: no trend upwards."""

    def judge(records: list[Record]) -> tuple[Verdict, str]:
        verdict, seen = _of_each(loss_rise([record]) <= LOSS_TREND for record in records)
        return verdict, f"{loss_end(records)}; {seen}"

    text = f"Test loss ended within {100 * LOSS_TREND:g} % of its minimum (no sign of overfitting)"
    return decide(text, profile, judge, records)


def underfitting(records: list[Record], profile: str) -> Claim:
    """What stops a run whose test loss still falls: not what it has learned too well, but what it has not learned."""

    def judge(records: list[Record]) -> tuple[Verdict, str]:
        ends = [[curve(record, name)[-1] for name in ("train_accuracy", "accuracy")] for record in records]
        train, test = 100 * np.mean(ends, axis=0)
        gaps = ", ".join(f"{100 * (of_train - of_test):.1f}" for of_train, of_test in ends)
        verdict, seen = _of_each(map(underfits, records))
        return verdict, f"on average {train:.1f} and {test:.1f} %; {seen}, with gaps of {gaps}"

    text = (
        f"Training accuracy ended below {100 * LOW:g} %, and no more than {100 * GAP:g} points above test accuracy "
        "(underfitting)"
    )
    return decide(text, profile, judge, records)


def loss_falls(runs: Runs, profile: str) -> Claim:
    """Of every run: training loss over the last tenth of the epochs against the tenth before."""

    def judge(*all_records: list[Record]) -> tuple[Verdict, str]:
        each = [record for records in all_records for record in records]
        tenths = [np.array_split(curve(record, "train_loss"), 10)[-2:] for record in each]
        return _of_each(last.mean() < before.mean() for before, last in tenths)

    text = "Training loss is still falling at the end, the last tenth of the epochs lower than the tenth before"
    return decide(text, profile, judge, *runs.values())


def _of_each(is_so: Iterable[bool]) -> tuple[Verdict, str]:
    """What is said of runs holds if it is so in each of them."""
    found = [bool(one) for one in is_so]
    runs = runs_in_words(len(found))
    seen = f"in {runs}" if all(found) or len(found) == 1 else f"it is so in {sum(found)} of {runs}"
    return "holds" if all(found) else "does not hold", seen


def better(a: str, b: str, runs: Runs, profile: str) -> Claim:
    """Whether `a` is more accurate than `b`."""

    def judge(first: list[Record], second: list[Record]) -> tuple[Verdict, str]:
        difference = compare(first, second)
        known = min(len(first), len(second)) >= MIN_SEEDS
        return positive(difference), f"{difference}; {needs(first, second)}" if known else str(difference)

    return decide(f"“{a}” is more accurate than “{b}”", profile, judge, runs.get(a, []), runs.get(b, []))


def below_paper(records: list[Record], profile: str) -> Claim:
    def judge(records: list[Record]) -> tuple[Verdict, Estimate]:
        estimate = accuracy_of(records, profile)
        return between(estimate, 0, RESNET_20 / 100), estimate

    return decide(f"ResNet-20 stays below the paper's {RESNET_20:g} %", profile, judge, records)


def hub_agrees(hub: list[Record], profile: str) -> Claim:
    """torch.hub's network against ours with the same training, the headline of step 02."""
    ours = story.step("02_hundred_epochs")

    def judge(hub: list[Record], own: list[Record]) -> tuple[Verdict, str]:
        difference = compare(hub, own)
        return between(difference, -AGREE, AGREE), f"theirs less ours: {difference}"

    text = f"torch.hub's ResNet-50 agrees with ours within {100 * AGREE:g} points"
    needed = [hub, find_seeds(ours.configs[ours.headline], "full")] if profile == "full" else [hub]
    return decide(text, profile, judge, *needed)
