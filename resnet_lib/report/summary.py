"""The answer in a table and a picture: the runs of the story, and what one change of them does."""

from __future__ import annotations

import pandas as pd

from resnet_lib.config import Config
from resnet_lib.findings import comparison
from resnet_lib.findings.changes import Candidate, candidates, runs
from resnet_lib.findings.judgement import UNDECIDED, between, mean_accuracy
from resnet_lib.findings.recorded import count, in_those_recorded, missing, runs_in_words
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import causes, paper_runs, story, suspects
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.story import NOT_YET
from resnet_lib.questions.suspects import AS_TOLD, AUGMENTED, CIFAR_STEP, NO_DROP, SHOWN, SMALL_RATE, WRONG_STEM
from resnet_lib.questions.wording import reduced, training
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.report import answer_figure, commands, tables
from resnet_lib.report.wording import percent

HOW_TO_READ = (
    "Test accuracy after the last epoch. ↳: the last row above without this sign, with one change or two, and what "
    "that is worth. n: the number of runs, each with a seed of its own. [a, b]: 95 % interval over seeds and test "
    f"images. With fewer than {MIN_SEEDS} runs, and for changes, the spread over seeds is that of similar settings; "
    "where there are none, no interval is given."
)
BF16 = "Rows marked bf16 were trained in mixed precision, to save hours, all others in fp32"
UNKNOWN = "; whether that changes where a training ends is not yet measured"
RATES = causes.FACTORS[causes.RATE]
THINGS = {  # that a reader may have to change, by the change of the story's training that shows what they are worth
    WRONG_STEM: ("Another stem", "ImageNet's (7×7, stride 2, max-pool) instead of one 3×3 convolution"),
    SMALL_RATE: ("A smaller learning rate", f"{RATES.suspect.label} instead of {RATES.paper.label} at the start"),
    NO_DROP: ("No learning-rate drops", ""),
    AUGMENTED: ("Augmentation", "random crops and flips"),
}
FOLD = (
    "The commands of these runs (seed 0): they show what is recorded, and train with a <code>--seed</code> that is not"
)
NUMBERS = ("one thing", "two things", "three things", "four things")
TERMS = (
    "`n`: the number of runs; for a difference, that of the smaller group. `seed sd`: the standard deviation over "
    "seeds; for a difference, of one run of the first group minus one of the second. “Pooled”: it comes from similar "
    f"settings with {MIN_SEEDS} runs or more, because this one has fewer, or several settings are compared; such an "
    f"interval can be narrower than one from {MIN_SEEDS} runs of its own. “Seed spread unknown”, or “over images "
    "alone”: the interval leaves seeds out, and is too narrow. “Undecided”: the interval allows both answers, or "
    "leaves seeds out. Each interval holds by itself; where several hold at once, and are wider, it is said. Points "
    "are percentage points; differences are those of the accuracies before these were rounded."
)


def short() -> str:
    """The answer in words, as a table, and as a picture in a folder `img`; empty before ResNet-20's are recorded."""
    found = runs("full")
    if not found:
        return ""
    parts = [tables.markdown(table()), f"{HOW_TO_READ} {_in_bf16()}"]
    if AS_TOLD in found:
        parts = [_what_stops(found), _of_the_story(found), *parts]
    parts.append(f"![{answer_figure.CAPTION}](img/{answer_figure.FIGURE}.png)\n\n*{answer_figure.caption('full')}*")
    trained = "\n".join(f"- {name}: `{line}`" for name, line in _commands(found).items())
    parts.append(tables.folded(FOLD, trained))
    return "\n\n".join([*parts, tables.folded("How the numbers are to be read", TERMS)])


def _in_bf16() -> str:
    """Which rows were trained in another precision, and what that is known to change."""
    known = comparison.change(suspects.one_at_a_time()["in bf16"], suspects.changed(), "full")
    return (
        f"{BF16}; in it, ResNet-20's hundred epochs end elsewhere than in fp32 by {known}."
        if known
        else f"{BF16}{UNKNOWN}."
    )


def _commands(found: Runs) -> dict[str, str]:
    """What trains each of the runs of ResNet-20 that are shown."""
    return {label: commands.command(records[0].config.replace(seed=0)) for label, records in found.items()}


def _what_stops(found: Runs) -> str:
    """What ResNet-20 comes to, trained as the lab assumes, and with what is most often wrong."""
    seen = [
        f"**{thing}**{f', {how}' if how else ''}: {_moved(found, label)} ({runs_in_words(len(found[label]))})"
        for label, (thing, how) in THINGS.items()
        if label in found
    ]
    epochs, plain = suspects.EPOCHS, found[AS_TOLD]
    took = (
        f"ResNet-20, trained for {epochs} epochs as the lab assumes that the story did ({training(plain[0].config)}), "
        f"ends at {percent(plain)} ({runs_in_words(len(plain))})"
    )
    if not seen:
        return f"**In short.** {took}."
    seen[-1] += f"; the paper has {RESNET_20:g} %" if AUGMENTED in found else ""
    listed = "\n".join(f"- {one}" for one in seen)
    return (
        f"**In short.** Does your ResNet stop near {CIFAR_STEP.claimed:g} % on CIFAR-10? Look at "
        f"{NUMBERS[len(seen) - 1]} first. {took}. Each of these changes one thing:\n\n{listed}"
    )


def _moved(found: Runs, label: str) -> str:
    way = "down" if mean_accuracy(found[label]) < mean_accuracy(found[AS_TOLD]) else "up"
    return f"{way} to {percent(found[label])}"


def _of_the_story(found: Runs) -> str:
    """Where its networks end here, and what would bring ResNet-20 where it tells."""
    plain, (low, high) = comparison.accuracy_of(found[AS_TOLD], "full"), CIFAR_STEP.near
    seen = f" {in_those_recorded(len(found[AS_TOLD]))}" if between(plain, low, high) == UNDECIDED else ""
    near = f"{'' if low < plain.mean < high else 'not '}near {CIFAR_STEP.about}{seen}"
    said = f"**The story:** {_networks_with_the_wrong_stem()}ResNet-20, taken to be its network for CIFAR-10, ends at "
    said += f"{percent(found[AS_TOLD])}, {near}."
    if plain.mean < high:
        return said
    found_near = candidates("full")
    free = [one for one in found_near if one.verdict == "holds" and not one.against]
    if free:
        said += f" With {_labels(free)} it ends near that, and the story tells nothing against it."
    if others := [one for one in found_near if one not in free]:
        more = "Other changes" if free else "Changes"
        said += f" {more} with which it does, or may: {_labels(others)}; what speaks against each is told below."
    return f"{said} What it was is open: the story's code is not known."


def _labels(some: list[Candidate]) -> str:
    return ", ".join(f"“{one.label}”" for one in some)


def _networks_with_the_wrong_stem() -> str:
    """Where the story's other networks end in as many epochs as ResNet-20, with what it tells of them; a sentence."""
    ends = []
    for step, config in story.TOLD:
        records, architecture = find_seeds(config, "full"), config.architecture
        if records and architecture.shape == "imagenet" and config.epochs == suspects.EPOCHS:
            told = f"the story: {step.claimed:g} %; {runs_in_words(len(records))}"
            ends.append(f"{architecture.title} ends at {percent(records)} ({told})")
    stems = {1: ", with ImageNet's stem", 2: ", both with ImageNet's stem"}.get(len(ends), ", all with ImageNet's stem")
    *first, last = ends or [""]
    return f"{', '.join(first)}{' and ' if first else ''}{last}{stems}. " if ends else ""


def table() -> pd.DataFrame:
    """One row for each accuracy that was reported; below it, what changes of that run do, if they are recorded."""
    rows = []
    for step in story.STEPS:
        recorded = [label for label in step.told if find_seeds(step.configs[label], "full")]
        for label in recorded or [step.headline]:
            told = step.configs[label]
            name = f"{told.architecture.title}, {told.epochs} epochs"
            name += reduced(told, ", {}")
            rows.append(_row(name, told, f"{step.claimed:g} (the story)"))
            changed = {f"↳ {name}": one for name, one in _changes(told).items() if _is_known(one)}
            rows += [_row(name, one, "", _worth(one, told)) for name, one in changed.items()]
    paper = paper_runs.table_6()["ResNet-20"]
    name = f"ResNet-20, the paper's settings ({paper.iterations:,} iterations, {paper.total_epochs} epochs)"
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
    found = comparison.change(changed, told, "full")
    return f"{100 * found.mean:+.1f}{found.sure}" if found else ""


def _row(name: str, config: Config, reported: str, worth: str = "") -> dict[str, str]:
    records = find_seeds(config, "full")
    measured = missing(config, "full")
    if records:
        found = comparison.accuracy_of(records, "full")
        measured = f"{100 * found.mean:.1f}{found.sure}"
    n = count(records, config, "full")
    told = {"network and training": name, "reported, %": reported, "measured, %": measured}
    return {**told, "the change, points": worth, "n": n}
