"""Which account of the story fits its four numbers, and what it says of two curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from resnet_lib.architecture import Architecture
from resnet_lib.findings.curves import LOSS_TREND
from resnet_lib.findings.judgement import UNDECIDED, Claim, Verdict, or_diverged
from resnet_lib.findings.sentences import loss_falls, loss_settled, near
from resnet_lib.questions.story import NOT_YET, STEPS, Step
from resnet_lib.questions.suspects import HYPOTHESES, Hypothesis
from resnet_lib.records.find import find_runs
from resnet_lib.records.record import Record


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
        f"01: test loss ends within {trend} of its minimum",
        f"02: training loss still falls, by more than {trend}",
    ]
    rows = []
    for hypothesis in HYPOTHESES:
        claims = observations(hypothesis, profile)
        cells = [f"{claim.verdict} ({claim.brief})" if claim.evidence else claim.verdict for claim in claims]
        rows.append({"assumption": hypothesis.name, **dict(zip(heads, cells, strict=True)), "holds": score(claims)})
    return pd.DataFrame(rows)


def conclusion(profile: str) -> str:
    """Whether any hypothesis fits all of the observations, in a sentence."""
    found = {one.name: observations(one, profile) for one in HYPOTHESES}
    held = {name: sum(claim.verdict == "holds" for claim in claims) for name, claims in found.items()}
    whole = [f"“{name}”" for name, claims in found.items() if held[name] == len(claims)]
    if whole:
        return f"All of it comes out if it is assumed: {', or '.join(whole)}."
    of = len(next(iter(found.values())))
    return (
        f"Under none of {len(found)} assumptions does all of it come out so far: at most {max(held.values())} of {of}."
    )


def _networks(step: Step) -> str:
    return " or ".join(Architecture(step.configs[label].model).title for label in step.told)


def score(claims: list[Claim]) -> str:
    """How many of the observations hold, in all runs or some, and how many nobody can judge yet."""
    open_ = sum(claim.verdict in (NOT_YET, UNDECIDED) for claim in claims)
    held, partly = (sum(claim.verdict == verdict for claim in claims) for verdict in ("holds", "in some runs"))
    said = f"{held} of {len(claims)}" + (f", {partly} in some runs" if partly else "")
    return said + (f", {open_} open" if open_ else "")
