"""Where others were stuck, and whether a run of ours stops at the same accuracy."""

from __future__ import annotations

import pandas as pd

from resnet_lib.findings.comparison import accuracy_of
from resnet_lib.findings.judgement import UNDECIDED, Verdict, between, mean_accuracy
from resnet_lib.findings.recorded import missing
from resnet_lib.questions import field_guide
from resnet_lib.questions.field_guide import Case
from resnet_lib.questions.wording import described
from resnet_lib.records.find import find_runs
from resnet_lib.records.record import Record

SAME_ACCURACY = {"holds": "yes", "does not hold": "no", UNDECIDED: UNDECIDED}


def table(profile: str) -> pd.DataFrame:
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
    trained = described(case.config.at(profile))
    if not records:
        return f"{trained}: {missing(case.config, profile)}"
    reached = f"{100 * mean_accuracy(records):.1f} %, n = {len(records)}"
    is_same = SAME_ACCURACY[same_plateau(records, case, profile)]
    return f"{trained}: {reached}; the same accuracy: {is_same}"


def same_plateau(records: list[Record], case: Case, profile: str) -> Verdict:
    low, high = case.plateau
    return between(accuracy_of(records, profile), low, high) if profile == "full" else UNDECIDED
