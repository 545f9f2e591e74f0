"""What single changes do to the accuracy and to the curves, and which account of the story fits its four numbers."""

from __future__ import annotations

import pandas as pd

from resnet_lib.config import Config
from resnet_lib.findings import symptoms
from resnet_lib.findings.claims import loss_falls, loss_settled, near
from resnet_lib.findings.evidence import find_cells
from resnet_lib.findings.judgement import UNDECIDED, Claim, compare, mean_accuracy, or_diverged
from resnet_lib.questions import causes, field_guide, suspects
from resnet_lib.questions.story import NOT_YET, STEPS, missing
from resnet_lib.questions.suspects import HYPOTHESES, Hypothesis
from resnet_lib.records.find import Runs, find_runs


def distinct(configs: dict[str, Config], profile: str) -> dict[str, Config]:
    """Without the changes that a small profile cannot tell from the first config."""
    base, *_ = configs.values()
    return {n: c for n, c in configs.items() if c is base or c.at(profile).fingerprint != base.at(profile).fingerprint}


def suspects_table(configs: dict[str, Config], profile: str) -> pd.DataFrame:
    """One row per change that was run: its accuracy, against that of the first row, and its symptoms.

    All columns are text. Intervals hold for all rows together, those that were not yet run among them.
    """
    told = distinct(configs, profile)
    rows, runs, absent = [], find_runs(told, profile), lacking(configs, profile)
    first, *_ = runs.values()
    # Elsewhere the single changes of the story's settings are seen as cells of the factorial, whose seeds differ alike.
    alike = find_cells(suspects.EPOCHS, profile).recorded.values() if suspects.STORY in told else ()
    for name, records in runs.items():
        if name in absent:
            continue
        difference = ""
        if records and first and records is not first:
            difference = str(compare(records, first, len(runs) - 1, [*runs.values(), *alike]))
        row = {
            "change": name,
            "test accuracy, %": f"{100 * mean_accuracy(records):.1f}" if records else missing(told[name], profile),
            "against the first row": difference.replace(" points", ""),
        }
        rows.append(row | (symptoms.row(records) if records else dict.fromkeys(symptoms.COLUMNS, "")))
    return pd.DataFrame(rows)


def lacking(configs: dict[str, Config], profile: str) -> list[str]:
    """The names of those that were not yet run at a profile."""
    runs = find_runs(distinct(configs, profile), profile)
    return [name for name, found in runs.items() if not found and missing(configs[name], profile) == NOT_YET]


def shown(profile: str) -> Runs:
    """Every recorded run that these tables show."""
    changed = [suspects.one_at_a_time(), suspects.leave_one_out(), causes.square(), field_guide.configs()]
    configs = [*(config for group in changed for config in group.values()), *suspects.accounts()]
    return find_runs({config.run_id: config for config in configs}, profile)


# --- which account fits the story


def observations(hypothesis: Hypothesis, profile: str) -> list[Claim]:
    """The story's four numbers and what it says of two curves, judged by the runs of a hypothesis."""
    configs = hypothesis.configs()
    runs = find_runs(configs, profile)
    judged = [(step.notebook, near(step, step.headline, runs[step.notebook], profile)) for step in STEPS]
    judged.append(("01_ten_epochs", loss_settled(runs["01_ten_epochs"], profile)))
    judged.append(("02_hundred_epochs", loss_falls({"": runs["02_hundred_epochs"]}, profile)))
    return [or_diverged(claim, (configs[name], runs[name]), profile=profile) for name, claim in judged]


def hypotheses_table(profile: str) -> pd.DataFrame:
    """One row per hypothesis: whether each of the story's observations holds there, and how many do."""
    heads = [f"{step.notebook[:2]}: {step.claimed:g} %" for step in STEPS]
    heads += ["01: test loss does not rise", "02: training loss still falls"]
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
