"""Accuracy without the test images that are nearly training images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_lib import duplicates
from resnet_lib.config import TEST_IMAGES
from resnet_lib.records import Record, Runs
from resnet_lib.story import NOT_YET

COLUMNS = ["run", "all, %", "without near-duplicates, %", "on near-duplicates alone, %", "n"]


def table(runs: Runs) -> pd.DataFrame:
    """A row a recorded run on the whole test set, means over seeds. All columns are text."""
    found = duplicates.known()
    rows = []
    for label, records in runs.items():
        whole = _whole(records)
        if found and whole:
            shares = np.mean([accuracies(record, found.test) for record in whole], axis=0)
            rows.append([label, *(f"{100 * share:.1f}" for share in shares), str(len(whole))])
    return pd.DataFrame(rows, columns=COLUMNS)


def sentence(runs: Runs) -> str:
    """How many there are, and what leaving them out changes."""
    found = duplicates.known()
    whole = [record for records in runs.values() for record in _whole(records)]
    if not found or not whole:
        return f"Accuracy without near-duplicates of training images: {NOT_YET}."
    less = [100 * (with_them - without) for with_them, without, _ in (accuracies(r, found.test) for r in whole)]
    return (
        f"{len(found):,} of the {TEST_IMAGES['all']:,} test images have a near-duplicate among the training images; "
        f"without them a run's accuracy is {np.mean(less):.2f} points lower (mean of {len(less)} runs, "
        f"{min(less):.2f} to {max(less):.2f})."
    )


def accuracies(record: Record, known: np.ndarray) -> tuple[float, float, float]:
    """Accuracy on all test images, on those that are not in `known` (indices [N]), and on those that are."""
    is_known = np.zeros(len(record.correct), bool)
    is_known[known] = True
    return record.correct.mean(), record.correct[~is_known].mean(), record.correct[is_known].mean()


def _whole(records: list[Record]) -> list[Record]:
    """Those that were measured on all of CIFAR-10's test images."""
    return [r for r in records if r.config.dataset == "cifar10" and r.result["images"] == TEST_IMAGES["all"]]
