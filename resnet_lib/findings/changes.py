"""ResNet-20 as the story trains it, and with something changed: its runs, and which end where the story's did."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_lib.findings.evidence import Cells, accuracy_in
from resnet_lib.findings.judgement import accuracy, between
from resnet_lib.findings.stats import Estimate
from resnet_lib.questions import causes, suspects
from resnet_lib.questions.suspects import AS_TOLD, CIFAR_STEP, SHOWN
from resnet_lib.records.find import Runs, find_runs


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with something changed, as far as it is recorded."""
    shown = {label: suspects.changed(*factors) for label, factors in {AS_TOLD: (), **SHOWN}.items()}
    return {label: records for label, records in find_runs(shown, profile).items() if records}


@dataclass(frozen=True)
class Lookalikes:
    """The other settings of ResNet-20 that ended near the story's accuracy, the nearest first."""

    recorded: int  # settings, wherever they ended
    near: dict[str, Estimate]  # by what they change
    undecided: dict[str, Estimate]  # near in the runs recorded, which cannot exclude that others end elsewhere

    @property
    def others(self) -> str:
        """All of them, in words."""
        return "one other setting" if self.recorded == 1 else f"{self.recorded} other settings"


def lookalikes(cells: Cells) -> Lookalikes:
    """Among all combinations at a budget of the story's, and its single changes."""
    others = [levels for levels in cells.recorded if levels != cells.start]
    ends = {causes.change(cells.start, levels): accuracy_in(levels, cells) for levels in others}
    single = {name: one for name, one in suspects.one_at_a_time().items() if one.epochs == cells.budget}
    single = {name: one for name, one in single.items() if name not in {suspects.STORY, *ends}}
    ends |= {name: accuracy(records) for name, records in find_runs(single, cells.profile).items() if records}
    low, high = CIFAR_STEP.near
    close = sorted(
        ((name, end) for name, end in ends.items() if low < end.mean < high),
        key=lambda one: abs(one[1].mean - CIFAR_STEP.claimed / 100),
    )
    near = {name: end for name, end in close if between(end, low, high) == "holds"}
    return Lookalikes(len(ends), near, {name: end for name, end in close if name not in near})
