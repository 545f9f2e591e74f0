"""ResNet-20 as the story trains it, and with something changed: its runs, and which end where the story's did."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_lib.findings.evidence import accuracy_of
from resnet_lib.findings.judgement import Verdict, between
from resnet_lib.findings.stats import Estimate
from resnet_lib.questions import suspects
from resnet_lib.questions.suspects import AS_TOLD, CIFAR_STEP, SHOWN
from resnet_lib.records.find import Runs, find_runs


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with something changed, as far as it is recorded."""
    shown = {label: suspects.changed(*factors) for label, factors in {AS_TOLD: (), **SHOWN}.items()}
    return {label: records for label, records in find_runs(shown, profile).items() if records}


@dataclass(frozen=True)
class Candidate:
    """A change with which ResNet-20 ends near the story's accuracy."""

    label: str
    end: Estimate
    verdict: Verdict  # holds, or undecided: near in the runs recorded, which cannot exclude that others end elsewhere


def candidates(profile: str) -> list[Candidate]:
    """Those of the changes that are shown."""
    low, high = CIFAR_STEP.near
    ends = {label: accuracy_of(records, profile) for label, records in runs(profile).items() if label != AS_TOLD}
    return [Candidate(label, end, between(end, low, high)) for label, end in ends.items() if low < end.mean < high]
