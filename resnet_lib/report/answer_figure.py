"""The answer in a picture: the story's ResNet-20 by epoch, and what changes of it do."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.figure import Figure

from resnet_lib.findings.changes import runs
from resnet_lib.findings.curves import SETTLED, are_one_until_the_drop, curve, epochs_before_the_drop, mean_curve
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.suspects import AS_TOLD, CIFAR_STEP, NO_DROP
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record
from resnet_lib.report import plots
from resnet_lib.report.wording import percent, quoted

FIGURE = "answer"  # its name in img/
CAPTION = "Test accuracy of ResNet-20 by epoch, with the story's assumed settings and with changes"
REPORTED = {CIFAR_STEP.claimed: "story", RESNET_20: "paper, ResNet-20"}


def drawn(profile: str) -> Runs:
    """Of `changes.runs`, the runs of seeds that all have: what their curves differ by is then not the seed.

    Without those that share no seed with the ones before them.
    """
    shared: set[int] = set()
    shown: Runs = {}
    for label, records in runs(profile).items():
        seeds = {record.config.seed for record in records}
        if common := shared & seeds if shown else seeds:
            shared, shown[label] = common, records
    return {label: [one for one in records if one.config.seed in shared] for label, records in shown.items()}


def caption(profile: str) -> str:
    """What the figure shows, and where two of its curves are one."""
    found, every = drawn(profile), runs(profile)
    seeds = sorted({record.config.seed for records in found.values() for record in records})
    if not seeds:
        return f"{CAPTION}."
    means = [
        f" “{label}” ends at {percent(found[label])} here; the mean of its {len(records)} runs is {percent(records)}."
        for label, records in every.items()
        if label in found and percent(found[label]) != percent(records)
    ]
    absent = quoted([label for label in every if label not in found])
    without = f" Without {absent}, of other seeds." if absent else ""
    return f"{CAPTION}; {_seeds(seeds)} of each.{without}{''.join(means)}{fork(profile)}"


def draw(profile: str) -> Figure | None:
    """The curves of `drawn` from where they begin to level off, with the accuracy that each ends at.

    That of a run without drops begins where it parts from the one with them.
    """
    found = drawn(profile)
    picture = plots.curves(found, profile, ["test_acc"], REPORTED if profile != "smoke" else {}, count=False)
    if not picture:
        return None
    (axes,), ends = picture.axes, [100 * mean_curve(records, "accuracy") for records in found.values()]
    axes.set_ylim(min(seen[len(seen) // 10 :].min() for seen in ends) - 5, max(seen.max() for seen in ends) + 2)
    parted = _forked(profile)
    for label, line, seen in zip(found, axes.lines, ends, strict=False):  # the others are drops and references
        if parted and label == NO_DROP and len(found[label]) == 1:  # and not a mean, of which only one may have parted
            line.set_data(line.get_xdata()[parted.epochs - 1 :], line.get_ydata()[parted.epochs - 1 :])
        axes.annotate(
            f"{seen[-1]:.1f}", (len(seen), seen[-1]), xytext=(6, 0), textcoords="offset points", va="center",
            color=line.get_color(), fontsize="small", annotation_clip=False,
        )  # fmt: skip
    return picture


class _Fork(NamedTuple):
    """Runs of one seed that were one until the rate of the first dropped."""

    dropped: Record
    undropped: Record
    epochs: int  # that they share


def _forked(profile: str) -> _Fork | None:
    for plain, undropped in zip(*(drawn(profile).get(label, []) for label in (AS_TOLD, NO_DROP)), strict=False):
        if are_one_until_the_drop(plain, undropped):
            return _Fork(plain, undropped, epochs_before_the_drop(plain))
    return None


def fork(profile: str) -> str:
    """A sentence, after a space, on runs that were one until the rate of one of them dropped; empty if none was."""
    if not (parted := _forked(profile)):
        return ""
    after = slice(parted.epochs, parted.epochs + SETTLED)
    ends = [curve(record, "accuracy")[after] for record in (parted.dropped, parted.undropped)]
    with_drop, without = (100 * seen.mean() for seen in ends)
    then = "one epoch later it has" if len(ends[0]) == 1 else f"over the next {len(ends[0])} epochs it averages"
    return (
        f" With and without drops, {_seeds([parted.dropped.config.seed])} is one and the same training up to epoch "
        f"{parted.epochs}; {then} {with_drop:.1f} % with the drop, {without:.1f} % without."
    )


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
