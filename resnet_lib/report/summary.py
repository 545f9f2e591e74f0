"""The answer in a table and a picture: the runs of the story, and what one change of them does."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from resnet_lib.architecture import Architecture
from resnet_lib.config import Config
from resnet_lib.findings import evidence
from resnet_lib.findings.curves import curve, mean_curve
from resnet_lib.findings.judgement import UNDECIDED, between, in_those_recorded
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import causes, paper_runs, story, suspects
from resnet_lib.questions.causes import AUGMENTATION, DROPS, HUNDRED, STEM, change
from resnet_lib.questions.factorial import turned
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.suspects import CIFAR_STEP
from resnet_lib.records.find import Runs, find_runs, find_seeds
from resnet_lib.report import commands, plots, tables
from resnet_lib.report.wording import percent

FIGURE = "answer"  # its name in img/
CAPTION = "Test accuracy of ResNet-20 by epoch, trained as the lab assumes the story, and with changes"
REPORTED = {CIFAR_STEP.claimed: "story", RESNET_20: "paper, ResNet-20"}
HOW_TO_READ = (
    "Test accuracy after the last epoch, trained as the lab assumes the story; ↳ with this changed. The stem is the "
    "first layers of a network. `n` counts runs, each with a seed of its own; [a, b] is a 95 % interval over seeds and "
    "test images, and there is none where nothing shows how much seeds differ."
)
TERMS = (
    "`n`: the number of runs; of a difference, that of the smaller group. `seed sd`: the standard deviation over "
    "seeds; of a difference, that of a run of one group less a run of the other. “Pooled”: it comes from similar "
    f"settings with {MIN_SEEDS} runs or more, because this one has fewer, or several settings are compared; such an "
    f"interval can be narrower than one from {MIN_SEEDS} runs of its own. “Seed spread unknown”, or “over images "
    "alone”: the interval leaves seeds out, and is too narrow. “Undecided”: it allows both answers. Points are "
    "percentage points."
)
TIMES = ("seconds", "images_per_second")  # columns of a history that are never the same
AS_TOLD = "the story, as the lab assumes it"
SHOWN = {  # changes of it, by what they change: the factors in which they differ
    change(HUNDRED, turned(HUNDRED, *factors)): factors
    for factors in ((DROPS,), (AUGMENTATION,), (STEM,), (STEM, AUGMENTATION))
}
NO_DROP, AUGMENTED, WRONG_STEM, STEM_AUGMENTED = SHOWN


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with something changed, as far as it is recorded."""
    shown = {label: suspects.changed(*factors) for label, factors in {AS_TOLD: (), **SHOWN}.items()}
    return {label: records for label, records in find_runs(shown, profile).items() if records}


def drawn(profile: str) -> Runs:
    """Of these, the runs of seeds that all have: what their curves differ by is then not the seed.

    Without those that share no seed with the ones before them.
    """
    shared: set[int] = set()
    shown: Runs = {}
    for label, records in runs(profile).items():
        seeds = {record.config.seed for record in records}
        if common := shared & seeds if shown else seeds:
            shared, shown[label] = common, records
    return {label: [one for one in records if one.config.seed in shared] for label, records in shown.items()}


def short() -> str:
    """The answer as a table, with its picture in a folder `img`; empty before anything is recorded at full size."""
    found = runs("full")
    if not found:
        return ""
    parts = [tables.markdown(table()), HOW_TO_READ]
    if AS_TOLD in found:
        parts.insert(0, f"{_what_stops(found)} What the lab's runs reached:")
    parts.append(f"![{CAPTION}](img/{FIGURE}.png)\n\n*{caption('full')}*")
    trained = "\n".join(f"- {name}: `{line}`" for name, line in _commands(found).items())
    parts.append(tables.folded("The commands of these runs; seed 0, unless <code>--seed</code> is given", trained))
    return "\n\n".join([*parts, tables.folded("How the numbers are to be read", TERMS)])


def _commands(found: Runs) -> dict[str, str]:
    """What trains each of the runs of ResNet-20 that are shown."""
    return {label: commands.command(records[0].config.replace(seed=0)) for label, records in found.items()}


def _what_stops(found: Runs) -> str:
    """Whether ResNet-20, trained as the lab assumes, ends near the story's accuracy, and if not, what took it there."""
    ends = {label: evidence.accuracy_of(records, "full") for label, records in found.items()}
    low, high = CIFAR_STEP.near
    verdicts = {label: between(end, low, high) for label, end in ends.items()}
    seen = [label for label, end in ends.items() if low < end.mean < high]
    place = f"{'' if AS_TOLD in seen else 'not '}near {CIFAR_STEP.about}"
    if verdicts[AS_TOLD] == UNDECIDED:
        place += f" {in_those_recorded(len(found[AS_TOLD]))}"
    said = f"Trained as the lab assumes the story, ResNet-20 ends at {percent(found[AS_TOLD])}, {place}.{_alone(found)}"
    if AS_TOLD in seen or not seen:
        return said
    is_sure = verdicts[AS_TOLD] == "does not hold"
    sure = [label for label in seen if is_sure and verdicts[label] == "holds"]
    others = [label for label in seen if label not in sure]
    if sure:
        said += f" Near {CIFAR_STEP.claimed:g} % it ends with {_quoted(sure)}."
    if others:
        where = "There, too" if sure else f"Near {CIFAR_STEP.claimed:g} %"
        said += f" {where}, but not decided by the runs recorded: {_quoted(others)}."
    return f"{said} Whether one of these changes stopped the story's own is open."


def _alone(found: Runs) -> str:
    """What each change alone is worth, in a sentence after a space, with where the paper's crops and flips lead."""
    single = {label: factors for label, factors in SHOWN.items() if label in found and len(factors) == 1}
    gains = {label: gain for label, factors in single.items() if (gain := evidence.worth("full", *factors))}
    if not gains:
        return ""
    said = {label: f"“{label}” {gains[label].number}" for label in sorted(gains, key=lambda label: gains[label].mean)}
    if AUGMENTED in said:
        said[AUGMENTED] += f", to {percent(found[AUGMENTED])}, where the paper has {RESNET_20:g} %"
    return f" What a change alone is worth, in {suspects.EPOCHS} epochs: {', '.join(said.values())}."


def _quoted(labels: list[str]) -> str:
    """In quotes, for a label may be a list of changes made together."""
    return ", ".join(f"“{label}”" for label in labels)


def table() -> pd.DataFrame:
    """One row for each accuracy that was reported; below it, what changes of that run do, if they are recorded."""
    rows = []
    for step in story.STEPS:
        recorded = [label for label in step.told if find_seeds(step.configs[label], "full")]
        for label in recorded or [step.headline]:
            told = step.configs[label]
            name = f"{Architecture(told.model).title}, {told.epochs} epochs"
            name += "" if told.precision == story.BASELINE.precision else f", {told.precision}"
            rows.append(_row(name, told, f"{step.claimed:g} (the story)"))
            changed = {f"↳ {name}": one for name, one in _changes(told).items() if find_seeds(one, "full")}
            rows += [_row(name, one, "") for name, one in changed.items()]
    paper = paper_runs.table_6()["ResNet-20"]
    return pd.DataFrame([*rows, _row("ResNet-20, the paper's training", paper, f"{RESNET_20:g} (the paper)")])


def _changes(told: Config) -> dict[str, Config]:
    """What is shown with something changed, of the runs of the story of which anything is."""
    if told == suspects.changed():
        return {label: suspects.changed(*factors) for label, factors in SHOWN.items()}
    square = causes.square()
    changed = {name: one for name, one in square.items() if name != causes.AS_IT_IS}
    return changed if told == square[causes.AS_IT_IS] else {}


def _row(name: str, config: Config, reported: str) -> dict[str, str]:
    records = find_seeds(config, "full")
    measured = story.missing(config, "full")
    if records:
        found = evidence.accuracy_of(records, "full")
        sure = "" if found.seed_sd is None else f" {found.interval}"
        measured = f"{100 * found.mean:.1f}{sure}"
    n = story.count(records, config, "full")
    return {"network and training": name, "reported, %": reported, "measured, %": measured, "n": n}


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
    absent = _quoted([label for label in every if label not in found])
    without = f" Without {absent}, of other seeds." if absent else ""
    return f"{CAPTION}; {_seeds(seeds)} of each.{without}{''.join(means)}{fork(profile)}"


def figure(profile: str) -> Figure | None:
    """The curves of `drawn` from where they begin to level off, with the accuracy that each ends at."""
    found = drawn(profile)
    picture = plots.curves(found, "test_acc", profile, REPORTED if profile != "smoke" else {}, count=False)
    if not picture:
        return None
    (axes,), ends = picture.axes, [100 * mean_curve(records, "accuracy") for records in found.values()]
    axes.set_ylim(bottom=min(seen[len(seen) // 10 :].min() for seen in ends) - 5)
    for line, seen in zip(axes.lines, ends, strict=False):  # the others are drops and references
        axes.annotate(
            f"{seen[-1]:.1f}", (len(seen), seen[-1]), xytext=(6, 0), textcoords="offset points", va="center",
            color=line.get_color(), fontsize="small", annotation_clip=False,
        )  # fmt: skip
    return picture


def fork(profile: str) -> str:
    """A sentence, after a space, on runs that were one until the rate of one of them dropped; empty if none was."""
    for plain, undropped in zip(*(drawn(profile).get(label, []) for label in (AS_TOLD, NO_DROP)), strict=False):
        before = sum(row["drops"] == 0 for row in plain.history)
        pairs = zip(plain.history[:before], undropped.history[:before], strict=True)
        if all(one[column] == other[column] for one, other in pairs for column in one if column not in TIMES):
            with_drop, without = (100 * curve(record, "accuracy")[before] for record in (plain, undropped))
            return (
                f" With and without drops, {_seeds([plain.config.seed])} is one and the same training up to epoch "
                f"{before}; one epoch later it has {with_drop:.1f} % with the drop, {without:.1f} % without."
            )
    return ""


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
