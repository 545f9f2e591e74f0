"""Which account of the story fits its four numbers, and what it says of two curves."""

from __future__ import annotations

import pandas as pd

from resnet_lib.architecture import Architecture
from resnet_lib.findings.curves import LOSS_TREND
from resnet_lib.findings.judgement import UNDECIDED, Claim, or_diverged
from resnet_lib.findings.sentences import loss_falls, loss_settled, near
from resnet_lib.questions.story import NOT_YET, STEPS
from resnet_lib.questions.suspects import HYPOTHESES, Hypothesis
from resnet_lib.records.find import find_runs


def observations(hypothesis: Hypothesis, profile: str) -> list[Claim]:
    """The story's four numbers and what it says of two curves, judged by the runs of a hypothesis."""
    configs = hypothesis.configs()
    runs = find_runs(configs, profile)
    judged = [(step.notebook, near(step, step.headline, runs[step.notebook], profile)) for step in STEPS]
    judged.append(("01_ten_epochs", loss_settled(runs["01_ten_epochs"], profile)))
    judged.append(("02_hundred_epochs", loss_falls({"": runs["02_hundred_epochs"]}, profile)))
    return [or_diverged(claim, (configs[name], runs[name]), profile=profile) for name, claim in judged]


def table(profile: str) -> pd.DataFrame:
    """One row per hypothesis: whether each of the story's observations holds there, and how many do."""
    told = [(step.notebook[:2], step.claimed, Architecture(step.configs[step.headline].model).title) for step in STEPS]
    heads = [f"{place}: {claimed:g} %, {network}" for place, claimed, network in told]
    heads += [f"01: test loss ends within {100 * LOSS_TREND:g} % of its minimum", "02: training loss still falls"]
    rows = []
    for hypothesis in HYPOTHESES:
        claims = observations(hypothesis, profile)
        cells = [f"{claim.verdict} ({claim.brief})" if claim.evidence else claim.verdict for claim in claims]
        rows.append({"assumption": hypothesis.name, **dict(zip(heads, cells, strict=True)), "holds": score(claims)})
    return pd.DataFrame(rows)


def score(claims: list[Claim]) -> str:
    """How many of the observations hold, and how many nobody can judge yet."""
    open_ = sum(claim.verdict in (NOT_YET, UNDECIDED) for claim in claims)
    held = sum(claim.verdict == "holds" for claim in claims)
    return f"{held} of {len(claims)}" + (f", {open_} open" if open_ else "")
