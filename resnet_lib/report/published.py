"""What the repository shows of its own records: the figures in `img/` and the tables of the README."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from resnet_lib.config import LabError
from resnet_lib.findings import claims, evidence, paper_table, purged
from resnet_lib.findings.judgement import accuracy, compare
from resnet_lib.machine.files import read_json, write_atomic
from resnet_lib.questions import agenda, paper_runs, story, suspects
from resnet_lib.questions.causes import FACTORS, HALF
from resnet_lib.questions.paper import TABLE_6
from resnet_lib.records.record import Runs, find_runs, find_seeds, reports_folder
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import bars, bench_tables, figure6, plots, tables

CHECKOUT = Path(__file__).resolve().parents[2]
CURVES = {
    "train_loss": "Training loss of every run of the story: mean cross-entropy of an epoch, measured in training.",
    "test_acc": "Test accuracy of every run after each epoch, with what the story reports.",
    "test_loss": "Test loss of every run after each epoch: mean cross-entropy on the test images.",
}
BUDGETS = {"smoke": (10,), "quick": (10,), "full": (10, 100)}  # epochs of the factorial; a small profile caps them all
WATERFALL = "05_waterfall_{}_epochs"
ANSWER = "answer"  # the figure with which the README begins
REPORTED = {story.step("03_cifar_architecture").claimed: "story", TABLE_6["resnet20"].accuracy: "paper"}
CAUSE = (
    "The story's 80 % comes from a hundred epochs, in which its learning rate (LR) drops twice. Ten epochs fit on a "
    "CPU, but neither of its drops comes within them: they show what ten epochs lack, not what the 80 % lacks. The "
    "story's settings are, as the lab assumes, no augmentation and a learning rate of 0.1. The paper's are here its "
    "stem, augmentation, learning rate, weight decay and two drops, at a half and three quarters of the run; images "
    "are normalised per channel, not per pixel."
)
HOW_TO_READ = (
    "Each line is a sentence, its verdict (holds, does not hold, undecided, not yet run) and the numbers behind it. "
    "Points are percentage points. `n` counts the runs, each with a random seed of its own; of a difference, the "
    "fewest among those compared. `seed sd` is the standard deviation over seeds; of a difference, that of two single "
    "runs."
)
CHECKED = "Over the recorded runs of the story, its root cause and the paper's table:"


def is_published(profile: str) -> bool:
    """Whether these are the records that the checkout's README and img/ show."""
    return profile == "full" and reports_folder() == CHECKOUT / "reports"


def figures(profile: str, folder: Path) -> list[Path]:
    """Draw the report's figures into `folder` from the records of a profile, as far as there are any.

    First the curves of all runs of the story, then step by step, then what crop and flip change, the root cause and
    the paper's Figure 6.
    """
    steps, paper = story.runs(profile), find_runs(paper_runs.configs(), profile)
    drawn: dict[str, Figure | None] = {}
    for prefix, runs in [("", story.overlay(steps)), *((f"{name[:2]}_", runs) for name, runs in steps.items())]:
        for quantity in CURVES:
            drawn[f"{prefix}{quantity}"] = plots.curves(runs, quantity, profile)
    runs = crop_and_flip(profile)
    drawn[ANSWER] = plots.curves(runs, "test_acc", profile, REPORTED) if all(runs.values()) else None
    for epochs in BUDGETS[profile]:
        drawn[WATERFALL.format(epochs)] = bars.waterfall(evidence.find_cells(epochs, profile), profile)
    drawn["06_figure6"] = figure6.draw(paper, profile)
    for name in (name for name, figure in drawn.items() if not figure):
        (folder / f"{name}.png").unlink(missing_ok=True)  # of records that are no longer there
    return [_saved(figure, folder / f"{name}.png") for name, figure in drawn.items() if figure]


def bench_figures(folder: Path) -> list[Path]:
    """Draw every committed benchmark into `folder`, as `bench_<name of its file>.png`."""
    return [_saved(bars.ladder(bench), folder / f"bench_{name}.png") for name, bench in benchmarks().items()]


def _saved(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plots.save(figure, path)
    return path


def update_readme(path: Path = CHECKOUT / "README.md") -> bool:
    """Write the tables, made from the `full` records, the benchmarks and the last soak, between their markers.

    Returns whether anything changed. Raises LabError if a marker is not there.
    """
    sections = {
        "answer": answer(),
        "results": results("full"),
        "missing": unfinished(),
        "bench": bench_tables.to_markdown(list(benchmarks().values())),
        "faults": faults(),
    }
    text = new = path.read_text(encoding="utf-8")
    for name, content in sections.items():
        markers = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, begin, rest = new.partition(markers[0])
        _, end, after = rest.partition(markers[1])
        if not begin or not end:
            raise LabError(f"{path} lacks the lines {markers[0]} and {markers[1]}: restore them")
        new = f"{before}{begin}\n{content}\n{end}{after}"
    if new != text:
        write_atomic(path, new.encode())
    return new != text


def answer() -> str:
    """In short what the `full` records say to the question of the title, the longest runs first, as Markdown."""
    parts = advice()
    if all(crop_and_flip("full").values()):
        caption = "Test accuracy of ResNet-20 by epoch, trained as in the story, and with random crops and flips"
        parts.append(f"![{caption}](img/{ANSWER}.png)")
    for epochs in reversed(BUDGETS["full"]):
        cells = evidence.find_cells(epochs, "full")
        done = sum(bool(cells.records[levels]) for levels in cells.way)
        parts.append(f"**ResNet-20 in {epochs} epochs**, from the story's settings (first row) to the paper's (last):")
        parts.append(tables.markdown(evidence.way_table(cells)))
        if done < len(cells.way):
            parts.append(f"{done} of {len(cells.way)} recorded: what separates the two ends cannot be said yet.")
        if cells.have(HALF):
            worth = [f"{e.name} {100 * e.estimate.mean:+.1f}" for e in evidence.effects(cells)[: len(FACTORS)]]
            parts.append(f"On average over all settings of the others, in points: {', '.join(worth)} (see Results).")
    if fast := find_seeds(bench_tables.FAST, "full"):
        reached = " and ".join(f"{100 * record.accuracy:.2f}" for record in fast)
        where = fast[0].result["environment"]
        here = [record for record in fast if bench_tables.same_machine(record.result["environment"], where)]
        minutes = np.mean([record.result["training_seconds"] for record in here]) / 60
        parts.append(
            f"**What works:** `resnet-lab run --model resnet20 --recipe fast` ended at {reached} % (the paper has "
            f"{TABLE_6['resnet20'].accuracy:g}) after {bench_tables.FAST.epochs} epochs in "
            f"{bench_tables.FAST.precision}, {minutes:.0f} minutes on "
            f"{tables.machine(where)}. How its length was chosen makes that slightly "
            "optimistic (see [Speed](#speed))."
        )
    return "\n\n".join(parts)


def crop_and_flip(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and the same with random crops and flips."""
    changed = suspects.one_at_a_time()
    shown = {"as in the story": changed[suspects.STORY], "with crop and flip": changed["crop and flip"]}
    return find_runs(shown, profile)


def advice() -> list[str]:
    """What somebody whose network stops at 80 % should check, as far as the story's own ResNet-20 shows it."""
    step = story.step("03_cifar_architecture")
    plain, augmented = crop_and_flip("full").values()
    _, until_drop, settled, _ = claims.claims(step.notebook, {step.headline: plain}, "full")
    if until_drop.verdict != "holds" or accuracy(plain).mean < step.claimed / 100 + claims.NEAR:
        return []
    found = [
        f"**First, the learning rate.** Trained as in the story, ResNet-20 stayed near {step.claimed:g} % until its "
        f"learning rate first dropped ({until_drop.evidence}), and ended at {100 * accuracy(plain).mean:.1f} %: check "
        "that yours drops, and in time."
    ]
    if settled.verdict == "does not hold":
        cure = "Whether the paper's random crops and flips prevent that is not yet run."
        if augmented:
            _, with_them = claims.loss_never_rose({step.headline: augmented}, "full")
            reached = f"{100 * accuracy(augmented).mean:.1f} % ({compare(augmented, plain)})"
            cure = f"With the paper's random crops and flips the same training came to {reached}, and its test loss "
            cure += f"{with_them.evidence}."
        found.append(f"**Then, overfitting.** Its test loss {settled.evidence}. {cure}")
    return found


def results(profile: str) -> str:
    """The cause, the story and the paper's table from the records of a profile, as Markdown.

    Its pictures are those of `figures`, in a folder `img`.
    """
    paper, measured = find_runs(paper_runs.configs(), profile), everything(profile)
    parts = ["### What separates the story's training from the paper's, as far as it is recorded", CAUSE, HOW_TO_READ]
    factorials = [evidence.find_cells(budget, profile) for budget in BUDGETS[profile]]
    for cells in factorials:
        if cells.have(cells.way):
            caption = f"From the story's settings to the paper's on ResNet-20 in {cells.epochs} epochs"
            parts.append(f"![{caption}](img/{WATERFALL.format(cells.budget)}.png)")
            parts.append(f"*{caption}. {bars.HOW_TO_READ}*")
    parts.append("\n".join(evidence.conclusion(cells, profile) for cells in factorials))
    for cells in factorials:
        if cells.have(HALF):
            parts += [f"### What each choice is worth on ResNet-20 in {cells.epochs} epochs", _mean_change(cells)]
            parts += [tables.markdown(evidence.effects_table(cells)[: len(FACTORS)]), evidence.known(cells)]
    parts += ["### The story, step by step", tables.story_markdown(profile)]
    if any(paper.values()):
        parts += ["### The paper's table", "![Error of the paper's networks against iterations](img/06_figure6.png)"]
        parts.append(_list(paper_table.verdicts(paper, profile)))
    checks = [claims.best_epoch(measured, profile), purged.sentence(measured)]
    return "\n\n".join([*parts, "### Two checks on these numbers", CHECKED, _list(checks)])


def _mean_change(cells: evidence.Cells) -> str:
    """What the table of effects shows, and what it is not to be taken for."""
    others = [factor.name for place, factor in enumerate(FACTORS) if place not in cells.shares]
    return (
        f"The mean change of test accuracy over all settings of the other choices, from {len(HALF)} of the "
        f"{2 ** len(FACTORS)} combinations. What a choice is worth depends on the others, so its share in the figure, "
        "what it changes first or last, and this mean are different numbers. In these the story's ResNet-20 is as the "
        f"paper's, or so the lab assumes: {', '.join(others)}; they are no part of its gap, but wrong in half of the "
        "runs here. All intervals hold at once, those of the pairs, which notebook 05 lists, among them."
    )


def _list(lines: Iterable[object]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def everything(profile: str) -> Runs:
    """Every finished run of the agenda, by part."""
    runs = {p.name: [RunFolder.of(config.at(profile), profile) for config in p.configs] for p in agenda.parts()}
    return {name: [run.record() for run in found if run.finished] for name, found in runs.items()}


def unfinished() -> str:
    """What has no record yet, at what cost on the first machine that was measured whole."""
    # Here, for it loads torch: seconds that the report's pages need not wait.
    from resnet_lib.report.outstanding import outstanding_markdown

    whole = [bench for bench in benchmarks().values() if "resnet50" in bench["networks"]]
    return outstanding_markdown(whole[0]) if whole else "No benchmark says yet what it would cost."


def faults() -> str:
    """The table of what `make soak` found."""
    path = reports_folder() / "faults.json"
    return tables.faults_markdown(read_json(path)) if path.exists() else story.NOT_YET


def benchmarks() -> dict[str, dict[str, Any]]:
    """The measured machines by name: `reports/bench/*.json`, as `resnet-lab bench --json` writes them."""
    return {path.stem: read_json(path) for path in sorted((reports_folder() / "bench").glob("*.json"))}
