"""The answer in a sentence and a picture: ResNet-20 as the story trains it, and with one thing changed."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from resnet_lib.findings.curves import LAST, last_epochs, mean_curve
from resnet_lib.findings.judgement import accuracy, compare, positive
from resnet_lib.questions import paper_runs, story, suspects
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.records.record import Record, Runs, find_runs, find_seeds
from resnet_lib.report import plots

FIGURE = "answer"  # its name in img/
CAPTION = "Test accuracy of ResNet-20 by epoch, trained as the lab assumes the story, and with one thing changed"
STEP = story.step("03_cifar_architecture")
PAPER = TABLE_6["resnet20"].accuracy
REPORTED = {STEP.claimed: "story", PAPER: "paper, ResNet-20"}
AS_TOLD, NO_DROP, AUGMENTED = "the story, as the lab assumes it", "no learning-rate drop", "with crop and flip"


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with one thing changed, as far as it is recorded."""
    changed = suspects.one_at_a_time()
    asked = {AS_TOLD: suspects.STORY, NO_DROP: "no LR drop", AUGMENTED: "crop and flip"}
    found = find_runs({label: changed[name] for label, name in asked.items()}, profile)
    return {label: records for label, records in found.items() if records}


def short(profile: str) -> str:
    """The answer in a sentence, with its picture, which is in a folder `img`; empty before anything is recorded."""
    found = runs(profile)
    if not found or profile != "full":
        return ""
    told = {
        NO_DROP: "where its learning rate stays high",
        AS_TOLD: "with two drops, the story's training as the lab assumes it",
        AUGMENTED: "with random crops and flips, too",
    }
    if NO_DROP in found:
        last = 100 * last_epochs(found[NO_DROP])
        told[NO_DROP] += f", anywhere from {last.min():.1f} to {last.max():.1f} % in the last {LAST} epochs"
    ended = [
        f"{percent(found[label])} (n = {len(found[label])}) {words}" for label, words in told.items() if label in found
    ]
    paper = f"The paper has {PAPER:g} %"
    if repeated := find_seeds(paper_runs.table_6()["ResNet-20"], profile):
        steps = repeated[0].config.total_steps()
        paper += f"; by its protocol, {steps:,} iterations, the lab's has {percent(repeated)} (n = {len(repeated)})"
    said = (
        f"**In short.** {_why(found)}After {suspects.EPOCHS} epochs ResNet-20 has {'; '.join(ended)}. {paper}. `n` is "
        "the number of runs."
    )
    return f"{said}\n\n![{CAPTION}](img/{FIGURE}.png)\n\n*{CAPTION}.{same_until_the_drop(profile)}*"


def _why(found: Runs) -> str:
    """What each change brought, the larger first, a sentence; empty before all are there, or if one brought nothing."""
    if not {NO_DROP, AS_TOLD, AUGMENTED} <= set(found):
        return ""
    dropped, augmented = compare(found[AS_TOLD], found[NO_DROP]), compare(found[AUGMENTED], found[AS_TOLD])
    if min(dropped.low, augmented.low) < 0:
        return ""
    parts = {
        "a learning rate that came down": dropped.mean,
        "random crops and flips": augmented.mean,
    }
    first, second = sorted(parts, key=lambda name: -parts[name])
    seen = "" if positive(dropped) == positive(augmented) == "holds" else ", in the runs recorded"
    return (
        f"{first[0].upper()}{first[1:]} brought {100 * parts[first]:.0f} points, {second} another "
        f"{100 * parts[second]:.0f}{seen}. "
    )


def figure(profile: str) -> Figure | None:
    """The curves of `runs` from where they begin to level off, with the accuracy that each ends at."""
    found = runs(profile)
    drawn = plots.curves(found, "test_acc", profile, REPORTED)
    if not drawn:
        return None
    (axes,), curves = drawn.axes, [100 * mean_curve(records, "accuracy") for records in found.values()]
    axes.set_ylim(bottom=min(curve[len(curve) // 10 :].min() for curve in curves) - 5)
    for index, curve in enumerate(curves):
        axes.annotate(
            f"{curve[-1]:.1f}", (len(curve), curve[-1]), xytext=(6, 0), textcoords="offset points", va="center",
            color=plots.colour(index), annotation_clip=False,
        )  # fmt: skip
    return drawn


def same_until_the_drop(profile: str) -> str:
    """A sentence on the runs of which one curve hides the other, as long as both do the same; empty if none does."""
    found = runs(profile)
    if not {AS_TOLD, NO_DROP} <= set(found):
        return ""
    plain, undropped = (mean_curve(found[label], "accuracy") for label in (AS_TOLD, NO_DROP))
    before = sum(row["drops"] == 0 for row in found[AS_TOLD][0].history)
    if not np.array_equal(plain[:before], undropped[:before]):
        return ""
    seeds = "seed" if len(found[AS_TOLD]) == 1 else "seeds"
    return f" “{AS_TOLD}” and “{NO_DROP}” have the same {seeds}: to epoch {before} they are one curve."


def percent(records: list[Record]) -> str:
    return f"{100 * accuracy(records).mean:.1f} %"


def in_range(values: list[float], form: str = ".1f") -> str:
    """The lowest and the highest of sorted values, or one where they look alike."""
    low, high = (f"{value:{form}}" for value in (values[0], values[-1]))
    return low if low == high else f"{low} to {high}"
