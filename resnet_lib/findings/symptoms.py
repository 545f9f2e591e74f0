"""What somebody who looks at the curves of runs sees, and how it reads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_lib.findings.curves import HasHistory, curve, loss_rise, mean_curve, overfits, underfits
from resnet_lib.findings.judgement import mean_accuracy
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record

FALL = 0.005  # mean fall of the test accuracy from an epoch to the next; of accuracies of an sd of 0.01, it is 0.0056
STEPS_SEEN = 5  # fewest steps from epoch to epoch over which falls are looked for

COLUMNS = ["training accuracy, %", "test loss, final ÷ lowest", "mean fall, points", "reading"]
HOW_TO_READ = (
    "Training accuracy is that over the last epoch. Final ÷ lowest: the test loss at the end, over its "
    "minimum. "
    "Mean fall: by how much test accuracy falls from one epoch to the next, a gain counting as 0, on average over the "
    f"last fifth of the epochs, at least {STEPS_SEEN} steps. Reading: the signs that all runs of a row show; –: none."
)


def row(records: list[Record]) -> dict[str, str]:
    """What somebody who looks at the curves sees, means over the runs, and how it reads; accuracies at the end."""
    train, falls = mean_curve(records, "train_accuracy")[-1], [mean_fall(record) for record in records]
    signs = {
        "training accuracy near 100 %, test loss well above its minimum: overfitting": all(map(overfits, records)),
        "test accuracy keeps falling back: learning rate still high": min(falls) > FALL,
        "training accuracy low, and close to test accuracy: underfitting": all(map(underfits, records)),
    }
    reading = "; ".join(sign for sign, is_seen in signs.items() if is_seen) or "–"
    falling = "" if np.isnan(falls).any() else f"{100 * np.mean(falls):.1f}"
    texts = [f"{100 * train:.1f}", f"{1 + loss_rise(records):.2f}", falling, reading]
    return dict(zip(COLUMNS, texts, strict=True))


def mean_fall(record: HasHistory) -> float:
    """How much the test accuracy loses from an epoch to the next, gains counting as nothing, at the end of a run.

    NaN: too short a run to say.
    """
    test = curve(record, "accuracy")
    steps = np.diff(test)[-max(STEPS_SEEN, len(test) // 5) :]
    return float(np.maximum(0, -steps).mean()) if len(steps) >= STEPS_SEEN else np.nan


def table(runs: Runs) -> pd.DataFrame:
    """One row per label that is recorded, the most accurate first: what its curves show, means over seeds."""
    found = {name: records for name, records in runs.items() if records}
    order = sorted(found, key=lambda name: -mean_accuracy(found[name]))
    rows = [
        {"run": name, "test accuracy, %": f"{100 * mean_accuracy(found[name]):.1f}", **row(found[name])}
        for name in order
    ]
    return pd.DataFrame(rows, columns=["run", "test accuracy, %", *COLUMNS])
