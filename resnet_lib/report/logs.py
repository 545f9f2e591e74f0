"""Logs of the lab to hold one's own against."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings import changes
from resnet_lib.findings.curves import HIGH, first_drop
from resnet_lib.questions import causes, story, suspects
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.report.wording import listed


def instructive() -> Runs:
    """Runs of which one may look like the reader's: those of the answer, and one of many people's settings."""
    hub = find_seeds(causes.square()[causes.AS_IT_IS], "full")
    return changes.runs("full") | ({"torch.hub's ResNet-18": hub} if hub else {})


def links(folder: str) -> str:
    """Links to the logs of instructive runs, with how well each fitted its images before the rate changed or ended."""
    parts = []
    for label, records in instructive().items():
        drops, fitted = (np.array([row[key] for row in records[0].history]) for key in ("drops", "train_accuracy"))
        ends = [f"{100 * fitted[drops == drop][-HIGH:].mean():.0f}" for drop in sorted(set(drops))]
        log = f"{folder}/{records[0].path.name}/history.csv"
        parts.append(f"[{label}]({log}) ({', then '.join(ends)} %)")
    return ", ".join(parts) or story.NOT_YET


def before_the_drop(found: Runs) -> str:
    """What tells a smaller rate from the usual one all the same, in a sentence before a space."""
    both = [found.get(label, []) for label in (suspects.SMALL_RATE, suspects.ASSUMED)]
    if not all(both):
        return ""
    fitted = [100 * first_drop(records, "train_accuracy").before.mean() for records in both]
    known = [f"{share:.0f} % at {records[0].config.lr:g}" for share, records in zip(fitted, both, strict=True)]
    return f"Too small a rate shows before its first drop: the training accuracy of ResNet-20 was {listed(known)}. "
