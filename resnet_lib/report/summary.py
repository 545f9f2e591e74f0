"""The answer in a table and a picture: the runs of the story, and what one change of them does."""

from __future__ import annotations

import pandas as pd

from resnet_lib.config import Config
from resnet_lib.findings import comparison
from resnet_lib.findings.changes import Candidate, candidates, others, runs
from resnet_lib.findings.judgement import UNDECIDED, mean_accuracy
from resnet_lib.findings.recorded import count, missing, runs_in_words
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import causes, paper_runs, story, suspects
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.story import NOT_YET
from resnet_lib.questions.suspects import ASSUMED, AUGMENTED, CIFAR_STEP, NO_DROP, SHOWN, SMALL_RATE, WRONG_STEM
from resnet_lib.questions.wording import augmentation, reduced, scientific, training
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.records.record import Record
from resnet_lib.report import answer_figure, commands, other_networks, tables
from resnet_lib.report.wording import in_range, listed, percent

HOW_TO_READ = (
    "Test accuracy after the last epoch. ↳: the nearest row above without this sign, changed as named; “the change” is "
    "the difference from it. n: runs, each with a seed of its own. [a, b]: 95 % interval over seeds and test images; "
    f"below {MIN_SEEDS} runs, and for changes, seeds are taken to differ as in similar settings (if there are none, no "
    "interval is given)."
)
BF16 = "bf16: mixed precision, to save hours; all others are in fp32"
UNKNOWN = "; whether that changes where a training ends is not yet measured"
RATES = causes.FACTORS[causes.RATE]
THINGS = {  # that a reader may have to change, by the change of the assumed settings that shows what they are worth
    WRONG_STEM: ("ImageNet's stem", "7×7, stride 2, max-pool; right: one 3×3 convolution"),
    SMALL_RATE: (f"Initial learning rate {RATES.suspect.label}", f"right: {RATES.paper.label}"),
    NO_DROP: ("No learning-rate drops", ""),
    AUGMENTED: ("Random crops and flips added", ""),
}
FOLD = "The commands of these runs. As they stand they show the record; a new <code>--seed</code> trains"
WITH = {"holds": "with", UNDECIDED: "undecided with"}
NUMBERS = ("one thing", "two things", "three things", "four things")


def short() -> str:
    """The answer in words, as a table, and as a picture in a folder `img`; empty before ResNet-20's are recorded."""
    found = runs("full")
    if not found:
        return ""
    parts = [tables.markdown(table()), f"{HOW_TO_READ} {_in_bf16()}"]
    if ASSUMED in found:
        seen = [f"**In short.** {_ends(found)}", _what_stops(found), _what_it_may_have_been(found)]
        parts = [*filter(None, seen), *parts]
    parts.append(f"![{answer_figure.CAPTION}](img/{answer_figure.FIGURE}.png)\n\n*{answer_figure.caption('full')}*")
    trained = "\n".join(f"- {name}: `{line}`" for name, line in _commands(found).items())
    parts.append(tables.folded(FOLD, trained))
    return "\n\n".join([*parts, tables.folded("How the numbers are to be read", tables.TERMS)])


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


def _ends(found: Runs) -> str:
    """What the story's networks come to, trained as the lab assumes."""
    plain, beside = found[ASSUMED], _others()
    near = "" if mean_accuracy(plain) < CIFAR_STEP.near[1] else f", not near the story's {CIFAR_STEP.claimed:g} %"
    own = f"ResNet-20, the paper's for CIFAR-10, ends at {percent(plain)} ({runs_in_words(len(plain))}){near}."
    how = f"for {suspects.EPOCHS} epochs with the settings that the lab assumes of the story"
    all_ = "But for such crops and flips, all were" if _hub_augmented() else "All were"
    trained = f"{all_ if beside else 'It was'} trained {how}: {training(plain[0].config)}."
    return " ".join(filter(None, [beside, own, trained]))


def _others() -> str:
    """What became of those beside ResNet-20, and what is known to help them, in sentences; empty without any."""
    found = others("full")
    ends = sorted(100 * record.accuracy for records in found.values() for record in records)
    if not ends:
        return ""
    low, high = (100 * edge for edge in CIFAR_STEP.near)
    is_near = low < ends[0] and ends[-1] < high
    first = f"Correct code can stop near {CIFAR_STEP.claimed:g} %: with" if is_near else "With"
    reached = f"{'end' if len(found) > 1 else 'ends'} at {in_range(ends)} % ({runs_in_words(len(ends))})"
    said = [f"{first} ImageNet's stem, {listed([*found])} {reached}."]
    if augmented := _hub_augmented():
        hub = augmented[0].config.architecture.title
        said.append(f"Crops and flips alone take {hub} to {percent(augmented)} ({runs_in_words(len(augmented))}).")
    return " ".join(filter(None, [*said, other_networks.unknown_stem()]))


def _hub_augmented() -> list[Record]:
    """torch.hub's ResNet-18 with crops and flips."""
    return find_seeds(causes.square()[AUGMENTED], "full")


def _what_stops(found: Runs) -> str:
    """What is most often wrong, and what ResNet-20 comes to with it; empty if nothing of it was run."""
    seen = [
        f"**{thing}**{f' ({right})' if right else ''}: {_moved(found, label)} ({runs_in_words(len(found[label]))})"
        for label, (thing, right) in THINGS.items()
        if label in found
    ]
    if not seen:
        return ""
    seen[-1] += f"; the paper has {RESNET_20:g} %" if AUGMENTED in found else ""
    bullets = "\n".join(f"- {one}" for one in seen)
    alone = f"one change alone takes it{' (such effects do not simply add up)' if len(seen) > 1 else ''}"
    return (
        f"**Does yours stop near {CIFAR_STEP.claimed:g} %?** Check {NUMBERS[len(seen) - 1]}. ResNet-20 ends at "
        f"{percent(found[ASSUMED])}; {alone}:\n\n{bullets}"
    )


def _moved(found: Runs, label: str) -> str:
    way = "down" if mean_accuracy(found[label]) < mean_accuracy(found[ASSUMED]) else "up"
    return f"{way} to {percent(found[label])}"


def _what_it_may_have_been(found: Runs) -> str:
    """What would bring ResNet-20 where the story tells; empty if it ends there as the lab assumes."""
    if mean_accuracy(found[ASSUMED]) < CIFAR_STEP.near[1]:
        return ""
    said = f"**Why the story's network for CIFAR-10 had {CIFAR_STEP.claimed:g} %** is open: its code is not known."
    near = {verdict: [one for one in candidates("full") if one.verdict == verdict] for verdict in WITH}
    ends = [f"{words} {_labels(near[verdict])}" for verdict, words in WITH.items() if near[verdict]]
    if ends:
        shown = [one for some in near.values() for one in some]
        free = [one for one in shown if not one.against]
        told = [f"nothing known speaks against {_labels(free)}"] if free else []
        told += [f"what speaks against {'the others' if free else 'each'} is told below"] if shown != free else []
        said += f" ResNet-20 ends within {100 * story.NEAR:g} points of that {'; '.join([*ends, *told])}."
    return said


def _labels(some: list[Candidate]) -> str:
    return ", ".join(f"“{one.label}”" for one in some)


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
    settings = f"weight decay {scientific(paper.weight_decay)}, {augmentation(paper)}, {paper.total_epochs} epochs"
    name = f"ResNet-20, the paper's settings ({settings})"
    return pd.DataFrame([*rows, _row(name, paper, f"{RESNET_20:g} (the paper)")])


def _changes(told: Config) -> dict[str, Config]:
    """What is shown with something changed, of the runs of the story of which anything is."""
    if told == suspects.changed():
        return {label: suspects.changed(*factors) for label, factors in SHOWN.items()}
    changed = {SMALL_RATE: told.replace(**RATES.suspect.fields)}
    square = causes.square()
    if told == square[causes.AS_IT_IS]:
        changed |= {name: one for name, one in square.items() if name != causes.AS_IT_IS}
    return changed


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
