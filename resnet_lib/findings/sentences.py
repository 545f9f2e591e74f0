"""Sentences of the story, and others like them, each judged by the records of the runs that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from resnet_lib.findings.comparison import accuracy_of, compare
from resnet_lib.findings.curves import (
    GAP,
    HIGH,
    LOSS_TREND,
    LOW,
    SETTLED,
    curve,
    first_drop,
    loss_end,
    underfits,
)
from resnet_lib.findings.judgement import UNDECIDED, Claim, Verdict, between, needs, positive, unjudged
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.findings.stats import MIN_SEEDS, over_seeds
from resnet_lib.questions import story
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record

AGREE = 0.02  # largest difference (share of the images) of two networks that "agree"


def near(step: story.Step, label: str, records: list[Record], profile: str) -> Claim:
    """The story's accuracy, give or take `story.NEAR`."""
    text = f"“{step.named(label)}” reaches about {step.claimed:g} % test accuracy (± {100 * story.NEAR:g} points)"
    if claim := unjudged(text, profile, records, about=(label,)):
        return claim
    estimate = accuracy_of(records, profile)
    return Claim(text, between(estimate, *step.near), estimate, about=(label,))


def near_until_drop(step: story.Step, label: str, records: list[Record], profile: str) -> Claim:
    """The same of the epochs before the learning rate first drops: where a run stays whose drops never come."""
    when = f"Over the last {HIGH} epochs before its learning rate first drops"
    text = f"{when}, “{step.named(label)}” averages about {step.about}"
    if claim := unjudged(text, profile, records, about=(label,)):
        return claim
    drop = first_drop(records)
    level = over_seeds(drop.before.mean(axis=1))
    seen = f"{100 * level.mean:.1f} %{level.sure}, single epochs {100 * drop.before.min():.1f} to "
    seen += f"{100 * drop.before.max():.1f}; {100 * drop.after.mean():.1f} % in the {SETTLED} epochs after the drop"
    unknown = ", seed spread unknown" if level.seed_sd is None else ", interval over seeds alone"
    evidence = f"{seen}; {runs_in_words(len(records))}{unknown}"
    return Claim(text, between(level, *step.near), evidence, about=(label,))


def no_drop_reached(records: list[Record]) -> Claim:
    """A fact about the runs shown, whatever their parameters: decidable at every profile."""
    text = "The run ends before its learning rate drops"
    if not records:
        return Claim(text, NOT_YET)
    config, happened = records[0].config, max(record.history[-1]["drops"] for record in records)
    if not config.milestones:
        return Claim(text, "does not hold", "none was scheduled")
    where = " and ".join(map(str, config.milestones))
    unit = ("iteration" if config.iterations else "epoch") + "s" * (config.milestones != (1,))
    evidence = f"drops after {where} {unit}, the run has {config.iterations or config.epochs}"
    return Claim(text, "does not hold" if happened else "holds", evidence)


def loss_never_rose(records: list[Record], profile: str) -> Claim:
    """Taken at its word: no epoch of any run above the one before."""
    text = "Test loss never rose from one epoch to the next"
    if claim := unjudged(text, profile, records):
        return claim
    runs, worst = runs_in_words(len(records)), [max(0.0, np.diff(curve(one, "loss")).max()) for one in records]
    if not any(worst):
        return Claim(text, "holds", f"in {runs}")
    rose = sum(rise > 0 for rise in worst)
    return Claim(text, "does not hold", f"it rose in {rose} of {runs}, by up to {max(worst):.3f}")


def loss_settled(records: list[Record], profile: str) -> Claim:
    """The same as it was meant: no trend upwards. A single epoch makes none, for at a high rate the loss jumps."""
    text = f"In the last {SETTLED} epochs test loss came within {100 * LOSS_TREND:g} % of its minimum"
    if claim := unjudged(text, profile, records):
        return claim
    losses = [curve(record, "loss") for record in records]
    rises = [loss[-SETTLED:].min() / loss.min() - 1 for loss in losses]
    verdict, seen = _of_each(rise <= LOSS_TREND for rise in rises)
    return Claim(text, verdict, f"came within {100 * np.mean(rises):.1f} %; {loss_end(records)}; {seen}")


def underfitting(records: list[Record], profile: str) -> Claim:
    """What stops a run whose test loss still falls: not what it has learned too well, but what it has not learned."""
    text = (
        f"Training accuracy ended below {100 * LOW:g} %, and no more than {100 * GAP:g} points above test accuracy "
        "(underfitting)"
    )
    if claim := unjudged(text, profile, records):
        return claim
    ends = [[curve(record, name)[-1] for name in ("train_accuracy", "accuracy")] for record in records]
    train, test = 100 * np.mean(ends, axis=0)
    gaps = " and ".join(f"{100 * (of_train - of_test):+.1f}" for of_train, of_test in ends)
    verdict, seen = _of_each(map(underfits, records))
    return Claim(text, verdict, f"training {train:.1f} %, test {test:.1f} %; apart by {gaps} points; {seen}")


def loss_falls(runs: Runs, profile: str) -> Claim:
    """Of every run: training loss over the last tenth of the epochs against the tenth before.

    The story does not tell how much it fell: by less than LOSS_TREND is undecided.
    """
    text = (
        "Training loss still falls at the end (its mean over the last tenth of the epochs more than "
        f"{100 * LOSS_TREND:g} % below that of the tenth before; less is undecided)"
    )
    if claim := unjudged(text, profile, *runs.values(), about=tuple(runs)):
        return claim
    tenths = [np.array_split(curve(one, "train_loss"), 10)[-2:] for records in runs.values() for one in records]
    falls = sorted(float(1 - last.mean() / before.mean()) for before, last in tenths)
    if falls[0] > LOSS_TREND or falls[-1] <= 0:
        verdict: Verdict = "holds" if falls[0] > 0 else "does not hold"
    else:
        verdict = "in some runs" if falls[-1] > LOSS_TREND and falls[0] <= 0 else UNDECIDED
    lowest, highest = (f"{100 * fall:.1f}" for fall in (falls[0], falls[-1]))
    seen = f"{lowest if lowest == highest else f'{lowest} to {highest}'} % lower in {runs_in_words(len(falls))}"
    return Claim(text, verdict, seen, about=tuple(runs))


def _of_each(is_so: Iterable[bool]) -> tuple[Verdict, str]:
    """What is said of runs holds if it is so in each of them, and does not if it is so in none."""
    found = [bool(one) for one in is_so]
    runs = runs_in_words(len(found))
    seen = f"in {runs}" if all(found) or len(found) == 1 else f"it is so in {sum(found)} of {runs}"
    return "holds" if all(found) else "in some runs" if any(found) else "does not hold", seen


def better(a: str, b: str, runs: Runs, profile: str, named: Callable[[str], str] = str) -> Claim:
    """Whether `a` is more accurate than `b`, labels of which a reader knows the `named`."""
    text, sides = f"“{named(a)}” is more accurate than “{named(b)}”", (runs.get(a, []), runs.get(b, []))
    if claim := unjudged(text, profile, *sides, about=(a, b)):
        return claim
    difference = compare(*sides, profile)
    more = f"; {needs(*sides)}" if min(map(len, sides)) >= MIN_SEEDS else ""
    return Claim(text, positive(difference), f"{difference}{more}", about=(a, b))


def below_paper(records: list[Record], profile: str) -> Claim:
    text = f"ResNet-20, trained so, stays below the {RESNET_20:g} % of the paper, which trained it otherwise"
    if claim := unjudged(text, profile, records):
        return claim
    estimate = accuracy_of(records, profile)
    return Claim(text, between(estimate, 0, RESNET_20 / 100), estimate)


def less_accurate(cifar: list[Record], first: list[Record], profile: str) -> Claim:
    """The order in which the story has its networks: that for CIFAR-10 below the first one, in as many epochs."""
    text = "ResNet-20 is less accurate than ResNet-50"
    if claim := unjudged(text, profile, cifar, first):
        return claim
    beside = compare(cifar, first, profile)
    return Claim(text, positive(-beside), f"ResNet-20 less ResNet-50: {beside}")


def hub_agrees(hub: list[Record], own: list[Record], profile: str) -> Claim:
    """torch.hub's network against ours with the same training, the headline of step 02."""
    text = f"torch.hub's ResNet-50 agrees with ours within {100 * AGREE:g} points"
    if claim := unjudged(text, profile, hub, own):
        return claim
    difference = compare(hub, own, profile)
    return Claim(text, between(difference, -AGREE, AGREE), f"theirs less ours: {difference}")
