"""The answer in a table and a picture: the runs of the story, and what one change of them does."""

from __future__ import annotations

import pandas as pd

from resnet_lib.config import Config
from resnet_lib.findings import comparison
from resnet_lib.findings.accounts import AFTER_HUNDRED
from resnet_lib.findings.changes import Candidate, candidates, runs
from resnet_lib.findings.judgement import UNDECIDED, mean_accuracy
from resnet_lib.findings.recorded import count, missing, runs_in_words
from resnet_lib.findings.stats import MIN_SEEDS
from resnet_lib.questions import causes, paper_runs, story, suspects
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.story import NOT_YET
from resnet_lib.questions.suspects import AS_TOLD, AUGMENTED, CIFAR_STEP, NO_DROP, OTHERS, SHOWN, SMALL_RATE, WRONG_STEM
from resnet_lib.questions.wording import reduced, training
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.report import answer_figure, commands, tables
from resnet_lib.report.wording import HUB_NETWORK, in_range, listed, percent

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
WITH = {"holds": "with", UNDECIDED: "perhaps with"}
NUMBERS = ("one thing", "two things", "three things", "four things")


def short() -> str:
    """The answer in words, as a table, and as a picture in a folder `img`; empty before ResNet-20's are recorded."""
    found = runs("full")
    if not found:
        return ""
    parts = [tables.markdown(table()), f"{HOW_TO_READ} {_in_bf16()}"]
    if AS_TOLD in found:
        first = f"**In short.** {_ends(found)} {_beside_the_story()}"
        parts = [*filter(None, [first, _what_stops(found), _what_it_may_have_been(found)]), *parts]
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
    """What ResNet-20 and the story's other networks come to, trained as the lab assumes."""
    plain = found[AS_TOLD]
    how = f"trained for {suspects.EPOCHS} epochs as the lab assumes that the story did ({training(plain[0].config)})"
    resnet20 = f"ends at {percent(plain)} ({runs_in_words(len(plain))})"
    others = {config.architecture.title: find_seeds(config, "full") for _, config in OTHERS}
    runs = [record for records in others.values() for record in records]
    if not runs:
        return f"ResNet-20, {how}, {resnet20}."
    ends = sorted(100 * record.accuracy for record in runs)
    titles = [title for title, records in others.items() if records]
    verb = "end" if len(titles) > 1 else "ends"
    return (
        f"{listed(titles)}, with ImageNet's stem, {how}, {verb} at {in_range(ends)} % ({runs_in_words(len(runs))}): to "
        f"stop there takes no fault in the code. ResNet-20, the paper's for CIFAR-10, {resnet20}."
    )


def _what_stops(found: Runs) -> str:
    """What is most often wrong, and what ResNet-20 comes to with it; empty if nothing of it was run."""
    seen = [
        f"**{thing}**{f', {how}' if how else ''}: {_moved(found, label)} ({runs_in_words(len(found[label]))})"
        for label, (thing, how) in THINGS.items()
        if label in found
    ]
    if not seen:
        return ""
    seen[-1] += f"; the paper has {RESNET_20:g} %" if AUGMENTED in found else ""
    bullets = "\n".join(f"- {one}" for one in seen)
    look = f"**Does yours stop near {CIFAR_STEP.claimed:g} %?** Look at {NUMBERS[len(seen) - 1]} first."
    alone = f"Each of these alone takes ResNet-20 from {percent(found[AS_TOLD])}"
    return f"{look} {alone}{'; they do not add up' if len(seen) > 1 else ''}:\n\n{bullets}"


def _moved(found: Runs, label: str) -> str:
    way = "down" if mean_accuracy(found[label]) < mean_accuracy(found[AS_TOLD]) else "up"
    return f"{way} to {percent(found[label])}"


def _beside_the_story() -> str:
    """What the story has of each step, with how far that is from what came out, as a sentence."""
    return f"The story has {listed([*filter(None, map(_compared, AFTER_HUNDRED))])}."


def _what_it_may_have_been(found: Runs) -> str:
    """What would bring ResNet-20 where the story tells; empty if it ends there as the lab assumes."""
    if mean_accuracy(found[AS_TOLD]) < CIFAR_STEP.near[1]:
        return ""
    said = f"**What the story's {CIFAR_STEP.claimed:g} % was** is open, for its code is not known."
    near = {verdict: [one for one in candidates("full") if one.verdict == verdict] for verdict in ("holds", UNDECIDED)}
    ends = [f"{words} {_labels(near[verdict])}" for verdict, words in WITH.items() if near[verdict]]
    if ends:
        free = [one for one in near["holds"] if not one.against]
        others = [one for some in near.values() for one in some if one not in free]
        told = [f"nothing known speaks against {_labels(free)}"] if free else []
        told += [f"what speaks against {'the others' if free else 'each'} is told below"] if others else []
        said += f" ResNet-20 ends near it, within {100 * story.NEAR:g} points, {', '.join(ends)}; {'; '.join(told)}."
    return said


def _compared(step: story.Step) -> str:
    """The same of one step; empty if it was not run."""
    ends = [100 * mean_accuracy(found) for label in step.told if (found := find_seeds(step.configs[label], "full"))]
    network = step.configs[step.headline].architecture.title
    names = {CIFAR_STEP.notebook: f"its network for CIFAR-10, taken to be {network}"}
    name = names.get(step.notebook, HUB_NETWORK if step.also else network)
    if not ends:
        return ""
    ways = {" more" if step.claimed > end else " less" for end in ends}
    sign, way = ("+", "") if len(ways) > 1 else ("", ways.pop())
    apart = [step.claimed - end if sign else abs(step.claimed - end) for end in ends]
    return f"{step.claimed:g} % for {name} ({listed([f'{one:{sign}.1f}' for one in apart])} points{way})"


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
    name = f"ResNet-20, the paper's settings ({paper.iterations:,} iterations, {paper.total_epochs} epochs)"
    return pd.DataFrame([*rows, _row(name, paper, f"{RESNET_20:g} (the paper)")])


def _changes(told: Config) -> dict[str, Config]:
    """What is shown with something changed, of the runs of the story of which anything is."""
    if told == suspects.changed():
        return {label: suspects.changed(*factors) for label, factors in SHOWN.items()}
    changed = {SMALL_RATE: told.replace(**RATES.suspect.fields)} if told in [one for _, one in OTHERS] else {}
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
