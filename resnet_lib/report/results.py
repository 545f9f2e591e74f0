"""What the records say, as Markdown: for the index of the pages, and as a page that the repository shows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from resnet_lib.findings import (
    accounts,
    best_epoch,
    evidence,
    paper_table,
    plateaus,
    purged,
    root_cause,
    single_changes,
    symptoms,
)
from resnet_lib.findings.recorded import recorded_plan, recorded_story
from resnet_lib.questions import field_guide, paper_runs, story, suspects, wording
from resnet_lib.questions.causes import FACTORS, HALF, label
from resnet_lib.records.find import find_runs, reports_folder
from resnet_lib.report import answer, bars, figure6, plots, single_records, tables
from resnet_lib.report.wording import first_sentence
from resnet_lib.speed.measured import benchmarks, fp32_share, precision

IMG = "../../img"  # seen from the page of all results
CAUSE = (
    "The gap divided here is the one between two of the lab's trainings: the story's, as assumed "
    f"({wording.training(story.TUNED)}), and one with the paper's stem, augmentation, learning rate (LR), weight decay "
    "and two LR drops. It is not that between the story's number and the paper's. Both have the same length, drops "
    "after a half and three quarters of it, and images normalised per channel, where the paper subtracted the mean of "
    "each pixel. The story's ten epochs end before its first drop: theirs is the gap of a short training."
)
SETTINGS = (
    "Every combination of the choices in the first five columns that is recorded in {} epochs, the most accurate "
    "first; the assumed settings are: {}. ImageNet's stem is a 7×7 convolution of stride 2, then max-pool."
)
ONE_CHANGE = (
    "Each change alone of the assumed settings on ResNet-20, as far as it is recorded. A difference has two "
    "intervals: one for this change alone, as in the answer above, and a wider one that holds for all "
    f"{len(suspects.one_at_a_time()) - 1} changes that are planned at once. Runs without drops are taken to have a "
    "seed spread of their own, so that their intervals may be the widest; pairs of runs that are one until the drop "
    f"(see the answer) tell more of what drops are worth. {symptoms.HOW_TO_READ}"
)
ACCOUNTS = "Which assumption reproduces the story?"
ACCOUNT = (
    f"Which of the story's accuracies (± {100 * story.NEAR:g} points) and curves come out under each assumption on "
    "what it leaves out; “open”: undecided or not yet run. That test loss never rose is taken to mean that it comes "
    "near its minimum in the last epochs"
)
ANSWER = "The answer so far"
THREADS = "Others who were stuck"
OTHERS = (
    f"Public reports, as read in {field_guide.READ}, those with a cause first; beside some, the lab's run most like "
    f"theirs, and, once recorded, whether it ends at the same accuracy (± {100 * field_guide.SAME:g} points)."
)
CHECKED = "Over all recorded runs of the plan:"


def page() -> str:
    """A page of what the `full` records say, and of what has none yet, which stands in `reports/full/`."""
    said = (
        "What the story is, and what the lab assumes of it: see the [README](../../README.md). Made by `resnet-lab "
        "figures` from the records in `runs/`, which `resnet-lab verify-report` checks. `resnet-lab report --profile "
        "full --no-train` makes pages of them, with every notebook. [How the numbers are to be read]"
        f"(#{tables.TERMS_TITLE.lower().replace(' ', '-')})."
    )
    order = "`resnet-lab full` runs what is missing, in this order, and can be interrupted at any time."
    parts = ["# Results", said, f"## {ANSWER}", answer.answer("full")]
    parts.append(re.sub("^###", "##", body("full", IMG), flags=re.MULTILINE))
    folded = tables.folded(ACCOUNT, tables.markdown(accounts.table("full")))
    parts += [f"## {ACCOUNTS}", accounts.conclusion("full"), folded]
    parts += [f"## {THREADS}", OTHERS, tables.markdown(plateaus.table("full"))]
    if any(any(runs.values()) for runs in recorded_story("full").values()):
        parts += ["## Curves", _picture(IMG, plots.FIGURE, plots.CAPTION)]
    moved = "Runs that moved, paused, shared a machine, or name a commit that is gone"
    parts += ["## What to know of single records", tables.folded(moved, single_records.about())]
    if lacking := unfinished():
        parts += ["## Not yet run", order, lacking]
    return "\n\n".join(parts) + "\n"


def body(profile: str, img: str = "img") -> str:
    """The cause, the story and the paper's table from the records of a profile, as Markdown.

    Its pictures are those of `figures`, in a folder `img`, as seen from where the text stands.
    """
    paper, measured = find_runs(paper_runs.configs(), profile), recorded_plan(profile)
    parts = ["### The story, step by step", tables.story_markdown(profile), *_of_resnet20(profile)]
    parts += ["### What separates the assumed training from the paper's, as far as it is recorded", CAUSE]
    factorials = evidence.factorials(profile)
    if bars.recorded_changes(profile):
        parts.append(_picture(img, bars.CHANGES_FIGURE, bars.changes_caption(profile)))
    ways = evidence.ways(factorials)
    shares = [root_cause.conclusions(ways), *(root_cause.known(cells) for cells in factorials if cells.recorded)]
    if any(cells.have(cells.way) for cells in ways):
        shares.insert(0, _picture(img, bars.WAYS_FIGURE, bars.WAYS))
    parts.append(tables.folded("How the gap divides among the choices: figures and claims", "\n\n".join(shares)))
    for cells in factorials:
        if cells.have(HALF):
            title = f"What each choice is worth on ResNet-20 in {cells.epochs} epochs"
            effects = tables.markdown(root_cause.effects_table(cells, all_pairs=False))
            parts.append(tables.folded(title, f"{_mean_change(cells)}\n\n{effects}"))
    if any(paper.values()):
        parts += ["### The paper's table", tables.markdown(paper_table.table(paper, profile))]
        parts.append(_picture(img, figure6.FIGURE, figure6.CAPTION))
        parts.append(_list(claim for claim in paper_table.verdicts(paper, profile) if claim.verdict != story.NOT_YET))
    checks = [best_epoch.sentence(measured, profile), purged.sentence(measured)]
    parts += ["### Two checks on these numbers", CHECKED, _list(checks)]
    return "\n\n".join([*parts, f"### {tables.TERMS_TITLE}", tables.TERMS])


def _of_resnet20(profile: str) -> list[str]:
    """What every combination and every single change ended at in the story's hundred epochs; none at small profiles."""
    if profile != "full":
        return []
    parts, cells = [], evidence.find_cells(suspects.EPOCHS, profile)
    if cells.recorded:
        parts += [f"### ResNet-20 in {cells.epochs} epochs", SETTINGS.format(cells.epochs, label(cells.start))]
        parts.append(tables.markdown(root_cause.settings_table(cells)))
    changes = single_changes.table(suspects.one_at_a_time(), profile)
    return [*parts, "### One change at a time", ONE_CHANGE, tables.markdown(changes)] if len(changes) else parts


def _picture(img: str, name: str, caption: str) -> str:
    return f"![{first_sentence(caption)}]({img}/{name}.png)\n\n*{caption}*"


def _mean_change(cells: evidence.Cells) -> str:
    """What the table of effects shows, and what it is not to be taken for."""
    others = [factor.name for place, factor in enumerate(FACTORS) if place not in cells.shares]
    return (
        f"The mean change of test accuracy over all settings of the other choices, from {len(HALF)} of the "
        f"{2 ** len(FACTORS)} combinations. What a choice is worth depends on the others, so its share in the figure, "
        f"what it changes alone or last, and this mean are different numbers. The story's {', '.join(others[:-1])} and "
        f"{others[-1]} are, as the lab assumes, those of the paper already: they explain nothing of its gap, and are "
        "varied to show what getting them wrong costs. The intervals hold jointly, with those of all pairs of "
        "choices, of which those are shown whose interval excludes 0 (all: notebook 05)."
    )


def _list(lines: Iterable[object]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def unfinished() -> str:
    """What has no record yet, at what cost on the CPU that was measured last, in bf16 if any was, all of it.

    Empty if all has one.
    """
    # Here, for it loads torch: seconds that the report's pages need not wait.
    from resnet_lib.report.outstanding import outstanding_markdown, to_train

    if not to_train():
        return ""
    found = benchmarks(reports_folder() / "bench").values()
    cpus = [one for one in found if one["environment"]["device"] == "cpu"]
    whole = [one for one in cpus if "resnet50" in one["networks"] and fp32_share(one)]
    whole.sort(key=lambda one: precision(one) != "bf16")  # in which some runs are: it tells what both cost
    return outstanding_markdown(whole[0]) if whole else "No benchmark says yet what it would cost."
