"""The answer in a table and a picture: the runs of the story, and what one change of them does."""

from __future__ import annotations

import pandas as pd

from resnet_lib.architecture import Architecture
from resnet_lib.config import Config
from resnet_lib.findings import evidence
from resnet_lib.findings.changes import runs
from resnet_lib.findings.curves import HIGH, first_drop
from resnet_lib.findings.judgement import UNDECIDED, between, mean_accuracy
from resnet_lib.findings.recorded import count, in_those_recorded, missing, runs_in_words
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import causes, paper_runs, story, suspects
from resnet_lib.questions.factorial import turned
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.story import NOT_YET
from resnet_lib.questions.suspects import AS_TOLD, AUGMENTED, CIFAR_STEP, NO_DROP, SHOWN, STEM_AUGMENTED, WRONG_STEM
from resnet_lib.questions.wording import reduced
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.records.record import Record
from resnet_lib.report import answer_figure, commands, tables
from resnet_lib.report.wording import in_range, percent

HOW_TO_READ = (
    "Test accuracy after the last epoch, with the story's assumed settings but in the last row; ↳: with this change, "
    "worth so many percentage points. The stem is a network's first layers. `n` counts runs, each with its own seed; "
    f"[a, b] is a 95 % interval over seeds and test images. Where n is below {MIN_SEEDS}, and for changes, it takes "
    "seeds to differ as in similar settings; where nothing shows how much they do, there is none."
)
BF16 = "Rows marked bf16 were trained in floats of 16 bits, to save hours, all others in 32."
UNKNOWN = " Whether that changes where a training ends is not yet measured."
TERMS = (
    "`n`: the number of runs; of a difference, that of the smaller group. `seed sd`: the standard deviation over "
    "seeds; of a difference, that of a run of one group less a run of the other. “Pooled”: it comes from similar "
    f"settings with {MIN_SEEDS} runs or more, because this one has fewer, or several settings are compared; such an "
    f"interval can be narrower than one from {MIN_SEEDS} runs of its own. “Seed spread unknown”, or “over images "
    "alone”: the interval leaves seeds out, and is too narrow. “Undecided”: the interval allows both answers, or "
    "leaves seeds out. Each interval holds by itself; where several hold at once, and are wider, it is said. Points "
    "are percentage points; differences are those of the accuracies before these were rounded."
)


def short() -> str:
    """The answer as a table, with its picture in a folder `img`; empty before ResNet-20's are recorded."""
    found = runs("full")
    if not found:
        return ""
    known = find_seeds(suspects.one_at_a_time()["in bf16"], "full")
    parts = [tables.markdown(table()), f"{HOW_TO_READ} {BF16}{'' if known else UNKNOWN}"]
    if AS_TOLD in found:
        parts.insert(0, _what_stops(found))
    parts.append(f"![{answer_figure.CAPTION}](img/{answer_figure.FIGURE}.png)\n\n*{answer_figure.caption('full')}*")
    trained = "\n".join(f"- {name}: `{line}`" for name, line in _commands(found).items())
    parts.append(tables.folded("The commands of these runs; seed 0, unless <code>--seed</code> is given", trained))
    return "\n\n".join([*parts, tables.folded("How the numbers are to be read", TERMS)])


def _commands(found: Runs) -> dict[str, str]:
    """What trains each of the runs of ResNet-20 that are shown."""
    return {label: commands.command(records[0].config.replace(seed=0)) for label, records in found.items()}


def _what_stops(found: Runs) -> str:
    """Whether ResNet-20, trained as the lab assumes, ends near the story's accuracy, and if not, what took it there."""
    plain = evidence.accuracy_of(found[AS_TOLD], "full")
    low, high = CIFAR_STEP.near
    is_near = low < plain.mean < high
    place = f"{'' if is_near else 'not '}near {CIFAR_STEP.about}"
    if between(plain, low, high) == UNDECIDED:
        place += f" {in_those_recorded(len(found[AS_TOLD]))}"
    others = _networks_with_the_wrong_stem()
    this = "The paper's network for CIFAR-10, ResNet-20," if others else "ResNet-20"
    start = f"**In short:** with the story's assumed settings, {others}{this}"
    said = f"{start} ends at {percent(found[AS_TOLD])}, {place}."
    if AUGMENTED in found:
        end, runs_there = percent(found[AUGMENTED]), runs_in_words(len(found[AUGMENTED]))
        said += f" With random crops and flips it ends at {end} ({runs_there}); the paper has {RESNET_20:g} %."
    if is_near:
        return said
    fits = [one for one in (_high_rate(found), _wrong_stem(found)) if one]
    if not fits:
        return said
    first = "Among what would bring it near, as far as it is recorded: "
    which = "Which of these it was" if len(fits) > 1 else "Whether it was this"
    return f"{said} {first}{'; or '.join(fits)}. {which} in the story, or what else, is open: its code is not known."


def _high_rate(found: Runs) -> str:
    """Where it stood until its first drop, by augmentation and weight decay, and without any, as far as near."""
    cells, (low, high) = evidence.find_cells(suspects.EPOCHS, "full"), CIFAR_STEP.near
    factors = ((), (causes.AUGMENTATION,), (causes.DECAY,), (causes.AUGMENTATION, causes.DECAY))
    records = [cells.records[turned(causes.HUNDRED, *some)] for some in factors]
    levels = sorted(first_drop(some).before.mean() for some in records if some)
    near, parts = [100 * level for level in levels if low < level < high], []
    if near:
        of = (
            f" in {len(near)} of {len(levels)} combinations of augmentation and weight decay" if len(levels) > 1 else ""
        )
        parts.append(f"over the {HIGH} epochs before its first drop it averaged {in_range(near)} %{of}")
    undropped = found.get(NO_DROP, [])
    if undropped and low < mean_accuracy(undropped) < high:
        parts.append(f"without any drop it ended at {_ended(undropped)}")
    return f"a learning rate that stays high ({'; '.join(parts)})" if parts else ""


def _ended(records: list[Record]) -> str:
    """Where runs near the story's accuracy ended, of how many, and whether others may end elsewhere."""
    verdict = between(evidence.accuracy_of(records, "full"), *CIFAR_STEP.near)
    return f"{percent(records)}, {runs_in_words(len(records))}{'' if verdict == 'holds' else ', undecided'}"


def _wrong_stem(found: Runs) -> str:
    """Where ImageNet's stem took it, if near the story's."""
    low, high = CIFAR_STEP.near
    ends = {label: found[label] for label in (WRONG_STEM, STEM_AUGMENTED) if label in found}
    near = [f"with “{label}” {_ended(some)}" for label, some in ends.items() if low < mean_accuracy(some) < high]
    return (
        f"the stem ({'; '.join(near)}), but the story calls its network the paper's, whose stem is 3×3" if near else ""
    )


def _networks_with_the_wrong_stem() -> str:
    """Where the story's other networks end in as many epochs as ResNet-20, with what it tells of them; a sentence."""
    ends = []
    told_of = [(one, one.configs[label]) for one in story.STEPS for label in one.told]
    for step, config in told_of:
        records, architecture = find_seeds(config, "full"), Architecture(config.model)
        if records and architecture.shape == "imagenet" and config.epochs == suspects.EPOCHS:
            told = f"{runs_in_words(len(records))}; the story: {step.claimed:g} %"
            ends.append(f"{architecture.title} ends at {percent(records)} ({told})")
    stems = {1: ", with ImageNet's stem", 2: ", both with ImageNet's stem"}.get(len(ends), ", all with ImageNet's stem")
    return f"{', '.join(ends)}{stems}. " if ends else ""


def table() -> pd.DataFrame:
    """One row for each accuracy that was reported; below it, what changes of that run do, if they are recorded."""
    rows = []
    for step in story.STEPS:
        recorded = [label for label in step.told if find_seeds(step.configs[label], "full")]
        for label in recorded or [step.headline]:
            told = step.configs[label]
            name = f"{Architecture(told.model).title}, {told.epochs} epochs"
            name += reduced(told, ", {}")
            rows.append(_row(name, told, f"{step.claimed:g} (the story)"))
            changed = {f"↳ {name}": one for name, one in _changes(told).items() if _is_known(one)}
            rows += [_row(name, one, "", _worth(one, told)) for name, one in changed.items()]
    paper = paper_runs.table_6()["ResNet-20"]
    name = f"ResNet-20, the paper's {paper.total_epochs()} epochs"
    return pd.DataFrame([*rows, _row(name, paper, f"{RESNET_20:g} (the paper)")])


def _changes(told: Config) -> dict[str, Config]:
    """What is shown with something changed, of the runs of the story of which anything is."""
    if told == suspects.changed():
        return {label: suspects.changed(*factors) for label, factors in SHOWN.items()}
    square = causes.square()
    changed = {name: one for name, one in square.items() if name != causes.AS_IT_IS}
    return changed if told == square[causes.AS_IT_IS] else {}


def _is_known(config: Config) -> bool:
    """Whether it was run, be it that it diverged."""
    return bool(find_seeds(config, "full")) or missing(config, "full") != NOT_YET


def _worth(changed: Config, told: Config) -> str:
    """The difference that a change made, with its interval where one can be told; empty if either is not recorded."""
    sides = [find_seeds(one, "full") for one in (changed, told)]
    if not all(sides):
        return ""
    found = evidence.difference(*sides, "full")
    return f"{100 * found.mean:+.1f}{found.sure}"


def _row(name: str, config: Config, reported: str, worth: str = "") -> dict[str, str]:
    records = find_seeds(config, "full")
    measured = missing(config, "full")
    if records:
        found = evidence.accuracy_of(records, "full")
        measured = f"{100 * found.mean:.1f}{found.sure}"
    n = count(records, config, "full")
    told = {"network and training": name, "reported, %": reported, "measured, %": measured}
    return {**told, "the change, points": worth, "n": n}
