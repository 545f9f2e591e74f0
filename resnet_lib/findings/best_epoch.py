"""What choosing a run's epoch on the test images would add to its accuracy."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings.curves import came_down, curve
from resnet_lib.findings.judgement import UNDECIDED
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record


def bias(record: Record) -> float:
    """By how much (a share of the images) the best epoch is better than the last."""
    seen = curve(record, "accuracy")
    return float(seen.max() - seen[-1])


def sentence(runs: Runs, profile: str) -> str:
    """What would be added to a run's accuracy by choosing its epoch on the images that it is measured on."""
    text = "Reporting the best epoch on the test images, instead of the last, would add"
    gains: dict[bool, list[float]] = {True: [], False: []}
    for record in (record for records in runs.values() for record in records):
        gains[came_down(record)].append(100 * bias(record))
    if not any(gains.values()):
        return f"{text}: {NOT_YET}."
    if profile != "full":
        return f"{text}: {UNDECIDED}."
    ends = {True: "to runs whose learning rate came down", False: "to runs whose learning rate did not come down"}
    parts = [f"{np.mean(found):.1f} points {ends[which]} ({_of(found)})" for which, found in gains.items() if found]
    return f"{text} {' and '.join(parts)}."


def _of(found: list[float]) -> str:
    return f"mean of {len(found)}, {min(found):.1f} to {max(found):.1f}" if len(found) > 1 else "one run"
