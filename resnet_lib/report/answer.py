"""The answer in short, and what to check in a network of one's own: what the README and the index begin with."""

from __future__ import annotations

from resnet_lib.findings import claims, evidence
from resnet_lib.findings.claims import GAP, LOSS_TREND, NEAR
from resnet_lib.findings.diagnosis import FALL, FITTED, LOW
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.judgement import HIGH, accuracy, compare, first_drop, mean_curve
from resnet_lib.questions import agenda, paper_runs, story, suspects
from resnet_lib.questions.causes import FACTORS, HALF
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.records.record import Record, Runs, find_runs, find_seeds
from resnet_lib.report import bench_tables, tables

FIGURE = "answer"  # its name in img/
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


def answer(profile: str) -> str:
    """What the records of a profile say to the question of the title, as Markdown; its picture is in a folder `img`."""
    parts = findings(profile)
    if runs(profile):
        caption = "Test accuracy of ResNet-20 by epoch, trained as in the story, and with one thing changed"
        parts.append(f"![{caption}](img/{FIGURE}.png)")
    for budget in reversed(BUDGETS[profile]):
        parts += _between_story_and_paper(evidence.find_cells(budget, profile))
    return "\n\n".join(parts)


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with one thing changed, as far as it is recorded."""
    changed = suspects.one_at_a_time()
    asked = {AS_TOLD: suspects.STORY, NO_DROP: "no LR drop", AUGMENTED: "crop and flip"}
    found = find_runs({label: changed[name] for label, name in asked.items()}, profile)
    return {label: records for label, records in found.items() if records}


def findings(profile: str) -> list[str]:
    """The answer in sentences, one paragraph each, said only as far as it was seen."""
    return [*_learning_rate(profile), *_overfitting(profile), *_what_works(profile), _coverage(profile)]


def _learning_rate(profile: str) -> list[str]:
    found = runs(profile)
    plain, undropped, augmented = (found.get(label, []) for label in (AS_TOLD, NO_DROP, AUGMENTED))
    until_drop = claims.near_until_drop(STEP, {STEP.headline: plain}, profile)
    if until_drop.verdict != "holds" or accuracy(plain).mean < STEP.claimed / 100 + NEAR:
        return []
    drop = first_drop(plain)
    stayed = f"{100 * drop.before.mean():.1f} % on average over the last {HIGH} epochs before its first drop"
    gained = f"{100 * drop.gain:.1f} points"
    if augmented:
        other = first_drop(augmented)
        stayed += f" ({100 * other.before.mean():.1f} % with random crops and flips)"
        gained += f" ({100 * other.gain:.1f} with them)"
    never = f" Without any drop it ended at {_percent(undropped)} ({compare(undropped, plain)})." if undropped else ""
    return [
        f"**First, the learning rate.** Trained as in the story, ResNet-20 stayed near {STEP.claimed:g} % while its "
        f"learning rate was {plain[0].config.lr:g}: {stayed}. The first epoch after that drop gained {gained}.{never} "
        f"So a network that stops at {STEP.claimed:g} % looks like one whose learning rate never came down.",
        f"**With its drops, ResNet-20 did not stop at {STEP.claimed:g} %.** As the lab assumes them, it ended at "
        f"{accuracy(plain)}. Whether the author's learning rate really dropped, nobody can tell from the write-up.",
    ]


def _overfitting(profile: str) -> list[str]:
    found = runs(profile)
    plain, augmented = found.get(AS_TOLD, []), found.get(AUGMENTED, [])
    _, settled = claims.loss_never_rose({"": plain}, profile)
    if settled.verdict != "does not hold":
        return []
    cure = "Whether the paper's random crops and flips prevent that is not yet run."
    if augmented:
        _, with_them = claims.loss_never_rose({"": augmented}, profile)
        cure = (
            f"With the paper's random crops and flips the same training came to {_percent(augmented)} "
            f"({compare(augmented, plain)}), and its test loss {with_them.evidence}. "
            f"The paper's ResNet-20 has {PAPER:g} %."
        )
    fitted = 100 * mean_curve(plain, "train_accuracy")[-1]
    return [
        f"**Then, overfitting.** At the end ResNet-20, trained as in the story, had {fitted:.1f} % of its training "
        f"images right. Its test loss {settled.evidence}. {cure}"
    ]


def _what_works(profile: str) -> list[str]:
    """The commands that come near the paper, and what each reached."""
    if profile != "full":
        return []
    lines = []
    for command, config in COMMANDS.items():
        if records := find_seeds(config, profile):
            reached = ", ".join(f"{100 * record.accuracy:.2f}" for record in records)
            lines.append(f"- `{command}`: {reached} % after {config.epochs} epochs in {config.precision}")
    if not lines:
        return []
    optimistic = (
        "How the length of `fast` was chosen makes its accuracy slightly optimistic: see “Speed” in the README."
    )
    said = f"**What works**, each number one run, the paper's being {PAPER:g} %:"
    return [said, "\n".join(lines), *([optimistic] if find_seeds(bench_tables.FAST, profile) else [])]


def _coverage(profile: str) -> str:
    planned = sum(len(part.configs) for part in agenda.parts())
    recorded = sum(map(len, agenda.recorded(profile).values()))
    lacking = [f"step {name[:2]}" for name, found in story.runs(profile).items() if not any(found.values())]
    if not any(find_runs(paper_runs.table_6(), profile).values()):
        lacking.append("the paper's table")
    none = f"; none yet of {', '.join(lacking)}" if lacking else ""
    rest = "All but `fast` rests" if find_seeds(bench_tables.FAST, profile) else "All this rests"
    return f"{rest} on {recorded} of {planned} planned runs{none}. `n` is the number of runs behind a number."


def _between_story_and_paper(cells: Cells) -> list[str]:
    """A table of what lies between the story's settings and the paper's at a budget, and how to read it."""
    parts = [
        f"**ResNet-20 in {cells.epochs} epochs**, from the story's settings (first row) to the paper's (last):",
        tables.markdown(evidence.way_table(cells)),
    ]
    recorded = [cells.records[levels] for levels in cells.way if cells.records[levels]]
    if lacking := len(cells.way) - len(recorded):
        parts.append(f"What share each choice has cannot be said before the missing {_rows(lacking)} recorded.")
    fitted = [mean_curve(records, "train_accuracy")[-1] for records in recorded]
    if not lacking and max(fitted) < FITTED:
        parts.append(
            "Crops and flips make the images harder to fit; so short a training (training accuracy "
            f"{100 * min(fitted):.1f} to {100 * max(fitted):.1f} %) gains little from them, or nothing."
        )
    if cells.have(HALF):
        parts.append(
            "Averaged over combinations of five choices, the paper's choice was worth, in points: "
            f"{'; '.join(map(_worth, evidence.effects(cells)[: len(FACTORS)]))}. Some of the others were wrong choices "
            "that the story did not make."
        )
    return parts


def _rows(count: int) -> str:
    return "row is" if count == 1 else f"{count} rows are"


def _worth(effect: evidence.Effect) -> str:
    return f"{effect.name} {100 * effect.estimate.mean:+.1f} ({effect.change})"


def _percent(records: list[Record]) -> str:
    return f"{100 * accuracy(records).mean:.1f} %"


def checklist() -> str:
    """What to look for, in this order, if one's own network stops at 80 %, with what it cost in the `full` records."""
    cells = evidence.find_cells(10, "full")
    worth = {effect.name: effect.estimate.mean for effect in evidence.effects(cells)} if cells.have(HALF) else {}
    stem = f": it cost {100 * worth['stem']:.1f} points on average in runs of {cells.epochs} epochs" if worth else ""
    dropped = {label: found for label, found in runs("full").items() if found[0].history[-1]["drops"]}
    gains = sorted(100 * first_drop(found).gain for found in dropped.values())
    jumped = f" (in the lab's runs of {suspects.EPOCHS} epochs by {_range(gains)} points)" if gains else ""
    logs = [f"`{found[0].path.name}` ({label})" for label, found in runs("full").items()]
    lines = [
        f"**The code, before the curves.** For 32×32 images the first layer is a 3×3 convolution of stride 1, without "
        f"max-pool; ImageNet's stem (7×7, stride 2, max-pool) is not for them{stem}. Evaluate in eval mode, on images "
        "without augmentation, and report the last epoch.",
        "**Is the learning rate still high?** Divide it by ten and train one more epoch. If test accuracy jumps"
        f"{jumped}, your drops come too late, or never: log the learning rate of every epoch. Another sign, whose "
        f"absence proves nothing: near the end, test accuracy loses {100 * FALL:g} points or more from one epoch to "
        "the next, on average, gains counting as nothing.",
        f"**Does it overfit?** Training accuracy {100 * FITTED:g} % or more, test loss ending {100 * LOSS_TREND:g} % "
        "or more above its minimum: add random crops (4 pixels of padding) and flips. They make the images harder to "
        "fit, so a short training may gain little from them.",
        f"**Does it underfit?** Training accuracy below {100 * LOW:g} %, and within {100 * GAP:g} points of test "
        "accuracy: train longer, raise a small learning rate, and look at the stem again.",
        "**None of these is clear?** Compare your log, epoch by epoch, with `history.csv` of a run that is recorded "
        f"here, in `reports/full/runs/`: {', '.join(logs) or story.NOT_YET}. The first column that departs tells where "
        "to look.",
    ]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _range(values: list[float]) -> str:
    low, high = (f"{value:.1f}" for value in (values[0], values[-1]))
    return low if low == high else f"{low} to {high}"
