"""What the curves tell: the symptoms of each suspect, which account of the story fits, what others' plateaus may be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_lib.config import Config
from resnet_lib.findings.claims import loss_falls, loss_settled, near
from resnet_lib.findings.curves import curve, loss_rise, mean_curve, overfits, underfits
from resnet_lib.findings.evidence import accuracy_of, find_cells
from resnet_lib.findings.judgement import (
    UNDECIDED,
    Claim,
    Verdict,
    between,
    compare,
    mean_accuracy,
    or_diverged,
)
from resnet_lib.questions import causes, field_guide, suspects
from resnet_lib.questions.field_guide import Case
from resnet_lib.questions.story import NOT_YET, STEPS, missing
from resnet_lib.questions.suspects import HYPOTHESES, Hypothesis
from resnet_lib.questions.wording import described
from resnet_lib.records.find import Runs, find_runs
from resnet_lib.records.record import Record

FALL = 0.005  # mean fall of the test accuracy from epoch to epoch; steps of an sd of 0.01 about a level have 0.0056
STEPS_SEEN = 5  # fewest steps from epoch to epoch over which falls are looked for

SAME_ACCURACY = {"holds": "yes", "does not hold": "no", UNDECIDED: UNDECIDED}
SYMPTOMS = ["training accuracy, %", "test loss, final ÷ lowest", "mean fall, points", "reading"]
HOW_TO_READ = (
    "Training accuracy is that over the last epoch. Final ÷ lowest: how far the test loss ended above its minimum. "
    "Mean fall: the loss of test accuracy from one epoch to the next, a gain counting as 0, on average over the last "
    f"fifth of the epochs, at least {STEPS_SEEN} steps. Reading: what these tell together, – where they tell nothing."
)


def symptoms(records: list[Record]) -> dict[str, str]:
    """What somebody who looks at the curves sees, means over the runs, and how it reads; accuracies at the end."""
    train, fall = mean_curve(records, "train_accuracy")[-1], np.mean([mean_fall(record) for record in records])
    signs = {
        "training accuracy near 100 %, test loss rising: overfitting": all(map(overfits, records)),
        "test accuracy keeps falling back: learning rate still high": fall > FALL,
        "training accuracy low, and close to test accuracy: underfitting": all(map(underfits, records)),
    }
    reading = "; ".join(sign for sign, is_seen in signs.items() if is_seen) or "–"
    falling = "" if np.isnan(fall) else f"{100 * fall:.1f}"
    texts = [f"{100 * train:.1f}", f"{1 + loss_rise(records):.2f}", falling, reading]
    return dict(zip(SYMPTOMS, texts, strict=True))


def mean_fall(record: Record) -> float:
    """How much the test accuracy loses from an epoch to the next, gains counting as nothing, at the end of a run.

    NaN: too short a run to say.
    """
    test = curve(record, "accuracy")
    steps = np.diff(test)[-max(STEPS_SEEN, len(test) // 5) :]
    return float(np.maximum(0, -steps).mean()) if len(steps) >= STEPS_SEEN else np.nan


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
        rows.append(row | (symptoms(records) if records else dict.fromkeys(SYMPTOMS, "")))
    return pd.DataFrame(rows)


def lacking(configs: dict[str, Config], profile: str) -> list[str]:
    """The names of those that were not yet run at a profile."""
    runs = find_runs(distinct(configs, profile), profile)
    return [name for name, found in runs.items() if not found and missing(configs[name], profile) == NOT_YET]


def symptoms_table(runs: Runs) -> pd.DataFrame:
    """One row per label that is recorded, the most accurate first: what its curves show, means over seeds."""
    found = {name: records for name, records in runs.items() if records}
    order = sorted(found, key=lambda name: -mean_accuracy(found[name]))
    rows = [
        {"run": name, "test accuracy, %": f"{100 * mean_accuracy(found[name]):.1f}", **symptoms(found[name])}
        for name in order
    ]
    return pd.DataFrame(rows, columns=["run", "test accuracy, %", *SYMPTOMS])


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


def shown(profile: str) -> Runs:
    """Every recorded run that these tables show."""
    changed = [suspects.one_at_a_time(), suspects.leave_one_out(), causes.square(), field_guide.configs()]
    configs = [*(config for group in changed for config in group.values()), *suspects.accounts()]
    return find_runs({config.run_id: config for config in configs}, profile)


# --- the field guide


def field_guide_table(profile: str) -> pd.DataFrame:
    """One row per public case: what was seen, what the thread found, and whether a run of ours stops there, too.

    Those with a cause come first. Threads are links in Markdown.
    """
    found = find_runs(field_guide.configs(), profile)
    rows = [
        {
            "thread": f"[{case.thread}]({case.url})",
            "they saw": case.saw,
            "cause, as told there": case.cause,
            "our run": _our_run(case, found.get(case.thread, []), profile),
        }
        for case in sorted(field_guide.CASES, key=lambda case: not case.cause)
    ]
    return pd.DataFrame(rows)


def _our_run(case: Case, records: list[Record], profile: str) -> str:
    """What was run for a case, and what came of it."""
    if not case.config:
        return "–"
    if not records:
        return f"{described(case.config)}: {missing(case.config, profile)}"
    reached = f"{100 * mean_accuracy(records):.1f} %, n = {len(records)}"
    is_same = SAME_ACCURACY[same_plateau(records, case, profile)]
    return f"{described(case.config)}: {reached}; the same accuracy: {is_same}"


def same_plateau(records: list[Record], case: Case, profile: str) -> Verdict:
    low, high = case.plateau
    return between(accuracy_of(records, profile), low, high) if profile == "full" else UNDECIDED
