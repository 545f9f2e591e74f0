"""Logs of the lab to hold one's own against."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings import changes
from resnet_lib.findings.curves import HIGH
from resnet_lib.questions import causes, story
from resnet_lib.records.find import Runs, find_seeds


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
