"""The answer in a sentence and a picture: ResNet-20 as the story trains it, and with one thing changed."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from resnet_lib.findings import evidence
from resnet_lib.findings.curves import mean_curve
from resnet_lib.findings.judgement import accuracy, positive, runs_in_words
from resnet_lib.questions import paper_runs, story, suspects
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.records.record import Record, Runs, find_runs, find_seeds
from resnet_lib.report import plots, tables

FIGURE = "answer"  # its name in img/
CAPTION = "Test accuracy of ResNet-20 by epoch, trained as the lab assumes the story, and with one thing changed"
STEP = story.step("03_cifar_architecture")
PAPER = TABLE_6["resnet20"].accuracy
REPORTED = {STEP.claimed: "story", PAPER: "paper, ResNet-20"}
TERMS = (
    "Here and below, points are percentage points, `n` is the number of runs, each with a seed of its own, [a, b] is a "
    "95 % interval, `seed sd` the standard deviation over seeds (of a difference: between two runs, one of each), and "
    "“undecided” what an interval leaves open."
)
TIMES = ("seconds", "images_per_second")  # columns of a history that are never the same
AS_TOLD, NO_DROP, AUGMENTED = "the story, as the lab assumes it", "no learning-rate drop", "with crop and flip"


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with one thing changed, as far as it is recorded."""
    changed = suspects.one_at_a_time()
    asked = {AS_TOLD: suspects.STORY, NO_DROP: "no LR drop", AUGMENTED: "crop and flip"}
    found = find_runs({label: changed[name] for label, name in asked.items()}, profile)
    return {label: records for label, records in found.items() if records}


def drawn(profile: str) -> Runs:
    """Of these, the runs of seeds that all have: what their curves differ by is then not the seed."""
    found = runs(profile)
    seeds = [{record.config.seed for record in records} for records in found.values()]
    shared = set.intersection(*seeds) if seeds else set()
    return {label: [one for one in records if one.config.seed in shared] for label, records in found.items()}


def short(profile: str) -> str:
    """The answer in a few sentences, with its picture in a folder `img`; empty before anything is recorded."""
    found = runs(profile)
    if not found or profile != "full":
        return ""
    told = {
        NO_DROP: "where its learning rate stayed high",
        AS_TOLD: "with two drops, as the lab assumes of the story",
        AUGMENTED: "with random crops and flips as well",
    }
    ended = [
        f"{percent(found[label])} (n = {len(found[label])}) {words}" for label, words in told.items() if label in found
    ]
    paper = f"The paper reports {PAPER:g} %"
    if repeated := find_seeds(paper_runs.table_6()["ResNet-20"], profile):
        steps = repeated[0].config.total_steps()
        paper += f"; by its protocol, {steps:,} iterations, the lab reached {percent(repeated)} (n = {len(repeated)})"
    open_ = f" Why the story's own stopped at {STEP.claimed:g} % is open." if AS_TOLD in found else ""
    said = (
        f"**In short.** {_why(profile)}After {suspects.EPOCHS} epochs ResNet-20 reached {'; '.join(ended)}. {paper}."
        f"{open_}"
    )
    picture = f"![{CAPTION}](img/{FIGURE}.png)\n\n*{caption(profile)}*"
    return "\n\n".join([said, *([picture] if any(drawn(profile).values()) else []), TERMS])


def caption(profile: str) -> str:
    """What the figure shows, and where two of its curves are one."""
    found = drawn(profile)
    seeds = sorted({record.config.seed for records in found.values() for record in records})
    if not seeds:
        return f"{CAPTION}."
    alone = [label for label, records in runs(profile).items() if len(records) > len(found[label]) == 1]
    means = [
        f" “{label}” ends at {percent(found[label])} here; the mean of its {len(runs(profile)[label])} runs is "
        f"{percent(runs(profile)[label])}."
        for label in alone
    ]
    return f"{CAPTION}; {_seeds(seeds)} of each.{''.join(means)}{fork(profile)}"


def _why(profile: str) -> str:
    """What each change was worth, two sentences with a space after them; empty as far as it is not known."""
    said = ""
    if told := drop_gains(evidence.find_cells(suspects.EPOCHS, profile)):
        said += f"With a 3×3 stem, the first drop of the learning rate gave ResNet-20 {told}. "
    parts = {
        "random crops and flips added": evidence.worth("crop and flip", suspects.STORY, profile),
        "a 3×3 stem instead of ImageNet's added": evidence.worth(suspects.STORY, suspects.STEM, profile),
    }
    known = [f"{name} {100 * one.mean:.0f} points" for name, one in parts.items() if one and positive(one) == "holds"]
    if known:
        said += f"In the story's settings, {' and '.join(known)}. "
    return said


def drop_gains(cells: evidence.Cells, beside: Callable[[list[Record]], str] = lambda records: "") -> str:
    """What the first drop gave with the paper's stem, by weight decay; empty if no run made one.

    `beside` may say more of the runs of a weight decay.
    """
    parts: list[str] = []
    for decay, records in evidence.by_decay(cells, 1).items():
        if gains := evidence.drop_gains(records):
            where = f"{'at' if parts else 'points at a weight decay of'} {tables.scientific(decay)}"
            of = f"{runs_in_words(len(gains))}{beside(records)}"
            parts.append(f"{in_range([100 * gain for gain in gains])} {where} ({of})")
    return ", ".join(parts)


def figure(profile: str) -> Figure | None:
    """The curves of `drawn` from where they begin to level off, with the accuracy that each ends at."""
    found = drawn(profile)
    picture = plots.curves(found, "test_acc", profile, REPORTED if profile != "smoke" else {})
    if not picture:
        return None
    (axes,), curves = picture.axes, [100 * mean_curve(records, "accuracy") for records in found.values()]
    axes.set_ylim(bottom=min(curve[len(curve) // 10 :].min() for curve in curves) - 5)
    for line, curve in zip(axes.lines, curves, strict=False):  # the others are drops and references
        axes.annotate(
            f"{curve[-1]:.1f}", (len(curve), curve[-1]), xytext=(6, 0), textcoords="offset points", va="center",
            color=line.get_color(), annotation_clip=False,
        )  # fmt: skip
    return picture


def fork(profile: str) -> str:
    """A sentence, after a space, on runs that were one until the rate of one of them dropped; empty if none was."""
    for plain, undropped in zip(*(drawn(profile).get(label, []) for label in (AS_TOLD, NO_DROP)), strict=False):
        before = sum(row["drops"] == 0 for row in plain.history)
        pairs = zip(plain.history[:before], undropped.history[:before], strict=True)
        if all(one[column] == other[column] for one, other in pairs for column in one if column not in TIMES):
            with_drop, without = (100 * mean_curve([record], "accuracy")[before] for record in (plain, undropped))
            return (
                f" With and without drops, {_seeds([plain.config.seed])} trained alike, to the last digit, to epoch "
                f"{before}; in the next it had {with_drop:.1f} % with the drop and {without:.1f} % without."
            )
    return ""


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def percent(records: list[Record]) -> str:
    return f"{100 * accuracy(records).mean:.1f} %"


def in_range(values: list[float]) -> str:
    """The lowest and the highest of sorted values, or one where they look alike."""
    low, high = (f"{value:.1f}" for value in (values[0], values[-1]))
    return low if low == high else f"{low} to {high}"
