"""The answer in short: what the README and the index begin with."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from resnet_lib.findings import claims, evidence
from resnet_lib.findings.claims import NEAR
from resnet_lib.findings.diagnosis import overfits
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.judgement import HIGH, accuracy, compare, first_drop, loss_end, mean_curve
from resnet_lib.questions import agenda, paper_runs, story, suspects
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.records.record import Record, Runs, find_runs, find_seeds
from resnet_lib.report import bench_tables, plots, tables

FIGURE = "answer"  # its name in img/
CAPTION = "Test accuracy of ResNet-20 by epoch, trained as in the story, and with one thing changed"
BUDGETS = {"smoke": (10,), "quick": (10,), "full": (10, 100)}  # epochs of the factorial; a small profile caps them all
STEP = story.step("03_cifar_architecture")
PAPER = TABLE_6["resnet20"].accuracy
REPORTED = {STEP.claimed: "story", PAPER: "paper, ResNet-20"}
AS_TOLD, NO_DROP, AUGMENTED = "as in the story", "no learning-rate drop", "with crop and flip"
COMMANDS = {  # that the README recommends: what each trains
    "resnet-lab run --model resnet20 --epochs 100 --milestones 50,75 --weight-decay 5e-4 --crop 4 --flip":
        suspects.one_at_a_time()["crop and flip"],
    "resnet-lab run --model resnet20 --recipe fast": bench_tables.FAST,
}  # fmt: skip


def short(profile: str) -> str:
    """The answer in a sentence, with its picture, which is in a folder `img`; empty before anything is recorded."""
    found = runs(profile)
    if not found or profile != "full":
        return ""
    told = {
        NO_DROP: "where its learning rate stays high",
        AS_TOLD: "with two learning-rate drops, as in the story",
        AUGMENTED: "with random crops and flips, too",
    }
    ended = [f"{_percent(found[label])} {words}" for label, words in told.items() if label in found]
    count = in_range(sorted(float(len(records)) for records in found.values()), "g")
    said = (
        f"**In short**: after {suspects.EPOCHS} epochs ResNet-20 has {'; '.join(ended)}. The paper has {PAPER:g} %. "
        f"Each of our numbers is {'one run' if count == '1' else f'the mean of {count} runs'}."
    )
    return f"{said}\n\n![{CAPTION}](img/{FIGURE}.png)\n\n*{CAPTION}.{same_until_the_drop(profile)}*"


def answer(profile: str) -> str:
    """What the records of a profile say to the question of the title, as Markdown."""
    parts = findings(profile)
    parts += _between_story_and_paper(evidence.find_cells(BUDGETS[profile][-1], profile), profile)
    return "\n\n".join(parts)


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
    return f" “{AS_TOLD}” and “{NO_DROP}” have the same seed: to epoch {before} they are one curve."


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with one thing changed, as far as it is recorded."""
    changed = suspects.one_at_a_time()
    asked = {AS_TOLD: suspects.STORY, NO_DROP: "no LR drop", AUGMENTED: "crop and flip"}
    found = find_runs({label: changed[name] for label, name in asked.items()}, profile)
    return {label: records for label, records in found.items() if records}


def findings(profile: str) -> list[str]:
    """The answer in sentences, one paragraph each, said only as far as it was seen."""
    seen = [_while_it_was_high, _with_its_drops, _overfitting, _what_works, _ten_epochs, _coverage]
    return [paragraph for say in seen for paragraph in say(profile)]


def _while_it_was_high(profile: str) -> list[str]:
    """Where the learning rate kept ResNet-20 until it dropped, if that is where the story says."""
    found = runs(profile)
    plain, undropped, augmented = (found.get(label, []) for label in (AS_TOLD, NO_DROP, AUGMENTED))
    if claims.near_until_drop(STEP, {STEP.headline: plain}, profile).verdict != "holds":
        return []
    drop = first_drop(plain)
    stayed = f"{100 * drop.before.mean():.1f} % on average over the last {HIGH} epochs before its first drop"
    gained = f"{100 * drop.after.mean():.1f} %, {100 * drop.gain:.1f} points above that average"
    if augmented:
        other = first_drop(augmented)
        stayed += f" ({100 * other.before.mean():.1f} % with random crops and flips)"
        gained += f" (with them {100 * other.after.mean():.1f} %, {100 * other.gain:.1f} points above)"
    said = (
        f"**First, the learning rate.** Trained as in the story, ResNet-20 stayed near {STEP.claimed:g} % while its "
        f"learning rate was {plain[0].config.lr:g}: {stayed}. One epoch after that drop it had {gained}."
    )
    if undropped:
        last = 100 * np.array([mean_curve([record], "accuracy")[-2 * HIGH :] for record in undropped])
        said += (
            f" Without any drop it ended at {_percent(undropped)}, having been anywhere between {last.min():.1f} and "
            f"{last.max():.1f} % in its last {last.shape[1]} epochs."
        )
        if compare(undropped, plain).high < 0 and abs(last.mean() - STEP.claimed) < 100 * NEAR:
            said += (
                f" So a learning rate that never comes down is enough to stop ResNet-20 near {STEP.claimed:g} %; it "
                "need not be the only way to stop there."
            )
    return [said]


def _with_its_drops(profile: str) -> list[str]:
    plain = runs(profile).get(AS_TOLD)
    if not plain or profile != "full":
        return []
    ended = f"as the lab assumes them, it ended at {accuracy(plain)}."
    if accuracy(plain).mean < STEP.claimed / 100 + NEAR:
        return [f"**With its drops, ResNet-20 came no further**: {ended}"]
    lighter = find_seeds(suspects.one_at_a_time()["weight decay 1e-4"], profile)
    if lighter:
        ended += f" With a weight decay of {lighter[0].config.weight_decay:g} instead, it ended at {accuracy(lighter)}."
    return [
        f"**With its drops, ResNet-20 did not stop at {STEP.claimed:g} %**: {ended} The write-up reports drops for its "
        "first network; for this one the lab assumes the same. Either they never took effect there, or something else "
        "differed that was not told, weight decay for one: that is not decided."
    ]


def _overfitting(profile: str) -> list[str]:
    found = runs(profile)
    plain, augmented = found.get(AS_TOLD, []), found.get(AUGMENTED, [])
    if not plain or profile != "full" or not overfits(plain):
        return []
    cure = "Whether the paper's random crops and flips prevent that is not yet run."
    if augmented:
        cure = (
            f"With the paper's random crops and flips the same training came to {_percent(augmented)} "
            f"({compare(augmented, plain)}), and its test loss {loss_end(augmented)}. "
            f"The paper's ResNet-20 has {PAPER:g} %."
        )
    fitted = 100 * mean_curve(plain, "train_accuracy")[-1]
    return [
        f"**Then, overfitting.** At the end ResNet-20, trained as in the story, had {fitted:.1f} % of its training "
        f"images right, and its test loss {loss_end(plain)}. {cure}"
    ]


def _ten_epochs(profile: str) -> list[str]:
    """What became of the story's first number."""
    step = story.step("01_ten_epochs")
    records = find_seeds(step.configs[step.headline], profile)
    if not records or profile != "full":
        return []
    said = f"**And the {step.claimed:g} % after ten epochs?** ResNet-50 reached {accuracy(records)}"
    underfits = claims.underfits(records, profile)
    reading = ": it underfits" if underfits.verdict == "holds" else ""
    return [f"{said}. Its training and test accuracy ended at {underfits.evidence}{reading}."]


def _what_works(profile: str) -> list[str]:
    """The commands that come near the paper, and what each reached."""
    if profile != "full":
        return []
    lines = []
    for command, config in COMMANDS.items():
        if records := find_seeds(config, profile):
            reached = ", ".join(f"{100 * record.accuracy:.2f}" for record in records)
            hours = sorted(record.result["training_seconds"] / 3600 for record in records)
            devices = sorted({record.result["environment"]["device_name"].partition(" (")[0] for record in records})
            lines.append(
                f"- `{command}`: {reached} % after {config.epochs} epochs in {config.precision}, "
                f"{in_range(hours)} hours on {' or '.join(devices)}"
            )
    if not lines:
        return []
    optimistic = (
        "How the length of `fast` was chosen makes its accuracy slightly optimistic: see “Speed” in the README."
    )
    said = f"**What works**, each number one run, the paper's being {PAPER:g} %:"
    return [said, "\n".join(lines), *([optimistic] if find_seeds(bench_tables.FAST, profile) else [])]


def _coverage(profile: str) -> list[str]:
    planned = sum(len(part.configs) for part in agenda.parts())
    recorded = sum(map(len, agenda.recorded(profile).values()))
    shown = story.runs(profile)
    steps = [step for step in story.STEPS if not shown[step.notebook].get(step.headline)]
    lacking = [f"the story's {step.claimed:g} % (step {step.notebook[:2]})" for step in steps]
    if not any(find_runs(paper_runs.table_6(), profile).values()):
        lacking.append("the paper's table")
    none = f"; none yet of {', '.join(lacking)}" if lacking else ""
    return [f"{recorded} of {planned} planned runs are recorded{none}. `n` is the number of runs behind a number."]


def _between_story_and_paper(cells: Cells, profile: str) -> list[str]:
    """A table of what lies between the story's settings and the paper's at a budget, and what it says."""
    parts = [
        f"**ResNet-20 in {cells.epochs} epochs**, from the story's settings (first row) to the paper's (last):",
        tables.markdown(evidence.way_table(cells)),
    ]
    if lacking := sum(not cells.records[levels] for levels in cells.way):
        parts.append(f"What share each choice has cannot be said before the missing {_rows(lacking)} recorded.")
    else:
        parts.append(" ".join(map(str, evidence.verdicts(cells, profile)[:2])))
    return parts


def _rows(count: int) -> str:
    return "row is" if count == 1 else f"{count} rows are"


def _percent(records: list[Record]) -> str:
    return f"{100 * accuracy(records).mean:.1f} %"


def in_range(values: list[float], form: str = ".1f") -> str:
    low, high = (f"{value:{form}}" for value in (values[0], values[-1]))
    return low if low == high else f"{low} to {high}"
