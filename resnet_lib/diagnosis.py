"""What the curves tell: the symptoms of each suspect, which account of the story fits, what others' plateaus may be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_lib import field_guide
from resnet_lib.claims import (
    LOSS_TREND,
    UNDECIDED,
    Claim,
    Verdict,
    accuracy,
    between,
    compare,
    loss_falls,
    loss_never_rose,
    mean_curve,
    near,
)
from resnet_lib.records import Record, Runs, find_runs
from resnet_lib.story import NOT_YET, STEPS
from resnet_lib.suspects import HYPOTHESES, Hypothesis

FITTED = 0.97  # training accuracy from which a network knows its images
GAP = 0.03  # training accuracy no more than this above the test's: it has not learned its images
RESTLESS = 0.01  # median change of the test accuracy from epoch to epoch, over the last fifth of them

SYMPTOMS = ["training accuracy, %", "test loss, end ÷ minimum", "restlessness, points", "reads as"]


def symptoms(records: list[Record]) -> dict[str, str]:
    """What somebody who looks at the curves sees, means over seeds, and how it reads; accuracies at the last epoch."""
    train = mean_curve(records, "train_accuracy")[-1]
    test, loss = mean_curve(records, "accuracy"), mean_curve(records, "loss")
    last = np.abs(np.diff(test))[-max(1, len(test) // 5) :]
    restless = float(np.median(last)) if len(last) else 0.0
    rise = loss[-1] / loss.min()
    signs = {
        "knows its images while the test loss rises: overfits": train >= FITTED and rise > 1 + LOSS_TREND,
        "test accuracy jumps from epoch to epoch: learning rate still high": restless > RESTLESS,
        "no better on its own images: too short, too little, or held back": train < FITTED and train - test[-1] < GAP,
    }
    reading = "; ".join(sign for sign, is_seen in signs.items() if is_seen) or "–"
    return dict(zip(SYMPTOMS, [f"{100 * train:.1f}", f"{rise:.2f}", f"{100 * restless:.1f}", reading], strict=True))


def suspects_table(runs: Runs) -> pd.DataFrame:
    """A row a change: its accuracy, against that of the first row, and its symptoms. All columns are text."""
    base, rows = next(iter(runs.values())), []
    for name, records in runs.items():
        difference = str(compare(records, base)) if records and base and records is not base else ""
        row = {
            "change": name,
            "test accuracy, %": f"{100 * accuracy(records).mean:.1f}" if records else NOT_YET,
            "against the first row": difference.replace(" points", ""),
        }
        rows.append(row | (symptoms(records) if records else dict.fromkeys(SYMPTOMS, "")))
    return pd.DataFrame(rows)


def symptoms_table(runs: Runs) -> pd.DataFrame:
    """A row a recorded run, the most accurate first: what its curves show."""
    found = {name: records for name, records in runs.items() if records}
    order = sorted(found, key=lambda name: -accuracy(found[name]).mean)
    rows = [
        {"run": name, "test accuracy, %": f"{100 * accuracy(found[name]).mean:.1f}", **symptoms(found[name])}
        for name in order
    ]
    return pd.DataFrame(rows, columns=["run", "test accuracy, %", *SYMPTOMS])


# --- which account fits the story


def observations(hypothesis: Hypothesis, profile: str) -> list[Claim]:
    """The story's four numbers and what it says of two curves, judged by the runs of a hypothesis."""
    runs = find_runs(hypothesis.configs(), profile)
    numbers = [near(step, {step.headline: runs[step.notebook]}, profile) for step in STEPS]
    _, flat = loss_never_rose({"": runs["01_ten_epochs"]}, profile)
    return [*numbers, flat, loss_falls({"": runs["02_hundred_epochs"]}, profile)]


def hypotheses_table(profile: str) -> pd.DataFrame:
    """A row a hypothesis: whether each of the story's observations holds there, and how many do."""
    heads = [f"{step.notebook[:2]}: {step.claimed:g} %" for step in STEPS]
    heads += ["01: test loss does not rise", "02: training loss still falls"]
    rows = []
    for hypothesis in HYPOTHESES:
        claims = observations(hypothesis, profile)
        cells = [_with_number(claim, hypothesis, place, profile) for place, claim in enumerate(claims)]
        rows.append({"if it was": hypothesis.name, **dict(zip(heads, cells, strict=True)), "holds": score(claims)})
    return pd.DataFrame(rows)


def score(claims: list[Claim]) -> str:
    """How many of the observations hold, of those that the records can judge."""
    judged = [claim for claim in claims if claim.verdict not in (NOT_YET, UNDECIDED)]
    return f"{sum(claim.verdict == 'holds' for claim in judged)} of {len(judged)}" if judged else "–"


def _with_number(claim: Claim, hypothesis: Hypothesis, place: int, profile: str) -> str:
    if place < len(STEPS) and profile == "full" and claim.verdict != NOT_YET:
        records = find_runs(hypothesis.configs(), profile)[STEPS[place].notebook]
        return f"{100 * accuracy(records).mean:.1f}: {claim.verdict}"
    return claim.verdict


# --- the field guide


def field_guide_table(profile: str) -> pd.DataFrame:
    """A row a public case: what was seen, what the thread found, and whether a run of ours stops there, too.

    Threads are links in Markdown.
    """
    found = find_runs(field_guide.configs(), profile)
    rows = []
    for case in field_guide.CASES:
        records = found.get(case.thread, [])
        rows.append(
            {
                "thread": f"[{case.thread}]({case.url})",
                "they saw": case.saw,
                "cause, where shown": case.cause,
                "our run": case.what or "none found",
                "ours %": f"{100 * accuracy(records).mean:.1f}" if records else (NOT_YET if case.config else ""),
                "the same plateau": same_plateau(records, case.plateau, profile) if case.config else "",
            }
        )
    return pd.DataFrame(rows)


def same_plateau(records: list[Record], plateau: tuple[float, float] | None, profile: str) -> Verdict:
    if not records or not plateau:
        return NOT_YET
    return between(accuracy(records), plateau[0] / 100, plateau[1] / 100) if profile == "full" else UNDECIDED
