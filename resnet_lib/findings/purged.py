"""Accuracy without the test images that are near-duplicates of training images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_lib.config import TEST_IMAGES
from resnet_lib.data import duplicates
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record

COLUMNS = ["run", "all, %", "without near-duplicates, %", "on near-duplicates alone, %", "n"]


def table(runs: Runs) -> pd.DataFrame:
    """One row per recorded run on the whole test set, means over seeds. All columns are text."""
    found = duplicates.known()
    rows = []
    for label, records in runs.items() if found is not None else ():
        if whole := _whole(records):
            shares = np.mean([accuracies(record, found.test) for record in whole], axis=0)
            rows.append([label, *(f"{100 * share:.1f}" for share in shares), str(len(whole))])
    return pd.DataFrame(rows, columns=COLUMNS)


def sentence(runs: Runs) -> str:
    """How many there are, and what leaving them out changes."""
    found = duplicates.known()
    whole = [record for records in runs.values() for record in _whole(records)]
    if found is None or not whole:
        is_part = any(runs.values()) and not whole
        why = "only told of runs that were evaluated on all test images" if is_part else NOT_YET
        how = "" if found is not None else "; `resnet-lab data duplicates` looks for them"
        return f"Accuracy without near-duplicates of training images: {why}{'' if is_part else how}."
    parts = [accuracies(record, found.test) for record in whole]
    changes = [100 * (without - with_them) for with_them, without, _ in parts]
    return (
        f"{len(found):,} of the {TEST_IMAGES['all']:,} test images look like near-duplicates of a training image "
        "(found by comparing pixels: about one in ten is a false match, and some are missed); leaving them out changes "
        f"the accuracy by {np.mean(changes):+.2f} points (mean of "
        f"{runs_in_words(len(changes))}, {min(changes):+.2f} to {max(changes):+.2f})."
    )


def accuracies(record: Record, known: np.ndarray) -> tuple[float, float, float]:
    """Accuracy on all test images, on those that are not in `known` (indices [N]), and on those that are (or NaN)."""
    right = record.correct
    is_known = np.zeros(len(right), bool)
    is_known[known] = True
    return right.mean(), right[~is_known].mean(), right[is_known].mean() if is_known.any() else np.nan


def _whole(records: list[Record]) -> list[Record]:
    """Those that were measured on all of CIFAR-10's test images."""
    return [r for r in records if r.config.dataset == "cifar10" and r.result["images"] == TEST_IMAGES["all"]]
