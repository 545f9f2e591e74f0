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
    found = [record for records in runs.values() for record in records]
    if not found:
        return f"{text}: {NOT_YET}."
    if profile != "full":
        return f"{text}: {UNDECIDED}."
    gains = {
        "came down": [100 * bias(record) for record in found if came_down(record)],
        "did not come down": [100 * bias(record) for record in found if not came_down(record)],
    }
    parts = [
        f"{np.mean(those):.1f} points to runs whose learning rate {what} ({_of(those)})"
        for what, those in gains.items()
        if those
    ]
    return f"{text} {' and '.join(parts)}."


def _of(found: list[float]) -> str:
    return f"mean of {len(found)}, {min(found):.1f} to {max(found):.1f}" if len(found) > 1 else "one run"
