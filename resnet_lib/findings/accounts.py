"""Which account of the story fits its four numbers, and what it says of two curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from resnet_lib.findings.curves import LOSS_TREND, SETTLED
from resnet_lib.findings.judgement import UNDECIDED, Claim, Verdict, mean_accuracy, or_diverged
from resnet_lib.findings.sentences import loss_falls, loss_settled, near
from resnet_lib.questions.story import NOT_YET, STEPS, Step
from resnet_lib.questions.suspects import HYPOTHESES, Hypothesis
from resnet_lib.records.find import find_runs
from resnet_lib.records.record import Record

AFTER_HUNDRED = STEPS[1:]  # the steps of a hundred epochs


def observations(hypothesis: Hypothesis, profile: str) -> list[Claim]:
    """The story's four numbers and what it says of two curves, judged by the runs of a hypothesis."""
    configs = hypothesis.configs()
    runs = {notebook: find_runs(told, profile) for notebook, told in configs.items()}

    def judged(step: Step, judge: Callable[[str, list[Record]], Claim]) -> Claim:
        told = configs[step.notebook]
        each = {label: (told[label], found) for label, found in runs[step.notebook].items()}
        return of_any({label: or_diverged(judge(label, one[1]), one, profile=profile) for label, one in each.items()})

    ten, hundred, *_ = STEPS
    return [
        *(judged(step, lambda label, found, step=step: near(step, label, found, profile)) for step in STEPS),
        judged(ten, lambda _, found: loss_settled(found, profile)),
        judged(hundred, lambda label, found: loss_falls({label: found}, profile)),
    ]


def of_any(claims: dict[str, Claim]) -> Claim:
    """What the story may say of several networks: it holds if it does of one, and is refuted only by all of them."""
    if len(claims) == 1:
        return next(iter(claims.values()))
    ranks: list[Verdict] = ["holds", "in some runs", UNDECIDED, NOT_YET, "diverged", "does not hold"]
    best = min(claims.values(), key=lambda claim: ranks.index(claim.verdict))
    seen = [f"{label}: {one.verdict}, {one.brief}" for label, one in claims.items() if one.evidence]
    return replace(best, evidence="; ".join(seen))


def table(profile: str) -> pd.DataFrame:
    """One row per hypothesis: whether each of the story's observations holds there, and how many do."""
    heads = [f"{step.notebook[:2]}: {step.claimed:g} %, {_networks(step)}" for step in STEPS]
    trend = f"{100 * LOSS_TREND:g} %"
    heads += [
        f"01: in the last {SETTLED} epochs test loss within {trend} of its minimum",
        "02: training loss still falls",
    ]
    rows, judged = [], [observations(hypothesis, profile) for hypothesis in HYPOTHESES]
    for hypothesis, claims in zip(HYPOTHESES, judged, strict=True):
        cells = []
        for claim, same in zip(claims, judged[0], strict=True):
            seen = "as in the first row" if claim == same and claims is not judged[0] else claim.brief
            cells.append(f"{claim.verdict} ({seen})" if claim.evidence else claim.verdict)
        row = {"assumption": hypothesis.name, **dict(zip(heads, cells, strict=True)), "holds": score(claims)}
        if profile == "full":
            apart = farthest(hypothesis, profile)
            row[f"farthest from {_told()}, points"] = "–" if apart is None else f"{apart:+.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def farthest(hypothesis: Hypothesis, profile: str) -> float | None:
    """The largest distance, in points, of an accuracy after a hundred epochs from what the story tells of it.

    Of several networks that it may tell of, the nearest. None where a step has no run, or below full size.
    """
    configs, apart = hypothesis.configs(), []
    for step in AFTER_HUNDRED if profile == "full" else ():
        runs = find_runs(configs[step.notebook], profile).values()
        ends = [100 * mean_accuracy(records) - step.claimed for records in runs if records]
        if not ends:
            return None
        apart.append(min(ends, key=abs))
    return max(apart, key=abs) if apart else None


def conclusion(profile: str) -> str:
    """Which hypotheses the records contradict, and which agree with all that was told, in words."""
    judged = {one.name: observations(one, profile) for one in HYPOTHESES}
    refuted = [name for name, claims in judged.items() if any(claim.verdict == "does not hold" for claim in claims)]
    whole = [name for name, claims in judged.items() if all(claim.verdict == "holds" for claim in claims)]
    own = ", the lab's own first one among them" if HYPOTHESES[0].name in refuted else ""
    said = f"Records contradict {len(refuted) or 'none'} of the {len(judged)} assumptions{own}{_named(refuted)}."
    agree = "agrees" if len(whole) == 1 else "agree"
    return f"{said} {len(whole)} {agree} with all that was told{_named(whole)}." if whole else said


def _named(names: list[str]) -> str:
    return f": {'; '.join(f'“{name}”' for name in names)}" if names else ""


def _told() -> str:
    """`82, 80 and 83 %`: what the story tells of a hundred epochs."""
    *first, last = (f"{step.claimed:g}" for step in AFTER_HUNDRED)
    return f"{', '.join(first)} and {last} %"


def _networks(step: Step) -> str:
    return " or ".join(step.configs[label].architecture.title for label in step.told)


def score(claims: list[Claim]) -> str:
    """How many of the observations hold, in all runs or some, and how many cannot be judged yet."""
    open_ = sum(claim.verdict in (NOT_YET, UNDECIDED) for claim in claims)
    held, partly = (sum(claim.verdict == verdict for claim in claims) for verdict in ("holds", "in some runs"))
    said = f"{held} of {len(claims)}" + (f", {partly} in some runs" if partly else "")
    return said + (f", {open_} open" if open_ else "")
