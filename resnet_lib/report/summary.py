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
from resnet_lib.report import answer_figure, commands, other_networks, tables
from resnet_lib.report.wording import in_range, listed, percent

HOW_TO_READ = (
    "Test accuracy after the last epoch. ↳: the nearest row above without this sign, with that change; “the change” is "
    "the difference from it, before rounding. n: runs, each with its own seed. [a, b]: 95 % interval over seeds and "
    f"test images; below {MIN_SEEDS} runs, and for changes, the seed spread is that of similar settings (if there are "
    "none, no interval is given)."
)
BF16 = "bf16: mixed precision, to save hours; all others are in fp32"
UNKNOWN = "; whether it changes the final accuracy is not yet measured"
RATES = causes.FACTORS[causes.RATE]
THINGS = {  # to look at, in the checklist's order, by the change of the assumed settings that shows what they do
    WRONG_STEM: "with **ImageNet's stem** (7×7, stride 2, max-pool) instead of one 3×3 convolution",
    NO_DROP: "with **no learning-rate drop**",
    SMALL_RATE: f"with **SGD begun at {RATES.suspect.label}** instead of {RATES.paper.label}",
    AUGMENTED: "with **random crops and flips**, not a fault but the best remedy",
}
FOLD = "The commands for these runs. Unchanged, they show the record; a new <code>--seed</code> trains"


def short(where: str = "below") -> str:
    """The answer in words, as a picture in a folder `img`, and as a table; empty before ResNet-20's are recorded.

    `where` is the place in which it is told at length.
    """
    found = runs("full")
    if not found:
        return ""
    picture = f"![{answer_figure.CAPTION}](img/{answer_figure.FIGURE}.png)\n\n*{answer_figure.caption('full')}*"
    parts = [picture, tables.markdown(table()), f"{HOW_TO_READ} {_in_bf16()}"]
    if ASSUMED in found:
        seen = [f"**In short.** {_ends(found)}", _what_stops(found), _what_it_may_have_been(found, where)]
        parts = [*filter(None, seen), *parts]
    trained = "\n".join(f"- {name}: `{line}`" for name, line in _commands().items())
    return "\n\n".join([*parts, tables.folded(FOLD, trained)])


def _in_bf16() -> str:
    """Which rows were trained in another precision, and what that is known to change."""
    known = comparison.change(suspects.one_at_a_time()["in bf16"], suspects.changed())
    return (
        f"{BF16}; in it, ResNet-20's hundred epochs end elsewhere than in fp32 by {known}."
        if known
        else f"{BF16}{UNKNOWN}."
    )


def _commands() -> dict[str, str]:
    """What trains each row of the table, with a seed that is recorded."""
    recipes = {config: line for line, config in commands.COMMANDS.items()}  # that of the paper, in short
    found = {}
    for name, config, _, told in _shown():
        for record in find_seeds(config, "full")[:1]:
            line = recipes.get(record.config) or commands.command(record.config)
            found[f"{_title(told)}, {name}" if told else name] = line
    return found


def _ends(found: Runs) -> str:
    """What the story's networks come to, trained as the lab assumes."""
    plain = found[ASSUMED]
    near = "" if mean_accuracy(plain) < CIFAR_STEP.near[1] else f", not near the story's {CIFAR_STEP.claimed:g} %"
    own = f"ResNet-20, the paper's network for CIFAR-10, ends at {percent(plain)} ({runs_in_words(len(plain))}){near}."
    how = f"Unless stated otherwise: {suspects.EPOCHS} epochs with the settings the lab assumes for the story"
    return " ".join(filter(None, [_others(), own, f"{how}: {training(plain[0].config)}."]))


def _others() -> str:
    """What became of those beside ResNet-20, and what is known to help them, in sentences; empty without any."""
    found = others()
    ends = sorted(100 * record.accuracy for records in found.values() for record in records)
    if not ends:
        return ""
    low, high = (100 * edge for edge in CIFAR_STEP.near)
    is_near = low < ends[0] and ends[-1] < high
    first = f"Correct code can stop near {CIFAR_STEP.claimed:g} %: " if is_near else ""
    which, end = ("which have", "end") if len(found) > 1 else ("which has", "ends")
    reached = f"{end} at {in_range(ends)} % without augmentation ({runs_in_words(len(ends))})"
    said = [f"{first}{listed([*found])}, {which} ImageNet's stem, {reached}."]
    if augmented := find_seeds(causes.square()[AUGMENTED], "full"):
        hub = augmented[0].config.architecture.title
        said.append(
            f"With random crops and flips {hub} ends at {percent(augmented)} ({runs_in_words(len(augmented))})."
        )
    return " ".join(filter(None, [*said, other_networks.unknown_stem()]))


def _what_stops(found: Runs) -> str:
    """What is most often wrong, and what ResNet-20 comes to with it; empty if nothing of it was run."""
    seen = [
        f"- {percent(found[label])} ({runs_in_words(len(found[label]))}) {thing}"
        for label, thing in THINGS.items()
        if label in found
    ]
    if not seen:
        return ""
    seen[-1] += f"; the paper has {RESNET_20:g} %" if AUGMENTED in found else ""
    alone = f"a single change{' (effects do not simply add up)' if len(seen) > 1 else ''}"
    first = f"**Does yours stop near {CIFAR_STEP.claimed:g} %?** Look at these first. ResNet-20 ends at "
    return f"{first}{percent(found[ASSUMED])}, and with {alone} at:\n\n" + "\n".join(seen)


def _what_it_may_have_been(found: Runs, where: str) -> str:
    """What would bring ResNet-20 where the story tells; empty if it ends there as the lab assumes."""
    if mean_accuracy(found[ASSUMED]) < CIFAR_STEP.near[1]:
        return ""
    said = f"**Why the story's CIFAR-10 network ended near {CIFAR_STEP.claimed:g} %** is open: its code is unknown."
    shown = candidates()
    near, perhaps = ([one for one in shown if one.verdict == verdict] for verdict in ("holds", UNDECIDED))
    what = f"ResNet-20 within {100 * story.NEAR:g} points of that"
    if near:
        bring = f"changes {_labels(near)} bring" if len(near) > 1 else f"change {_labels(near)} brings"
        said += f" The {bring} {what}{f'; {_labels(perhaps)} may' if perhaps else ''}."
    elif perhaps:
        said += f" The change{'s' * (len(perhaps) > 1)} {_labels(perhaps)} may bring {what}."
    if free := [one for one in shown if not one.against]:
        said += f" Nothing known speaks against {_labels(free)}."
    if len(free) < len(shown):
        said += f" The case against {'the others' if free else 'each'} is {where}."
    return said


def _labels(some: list[Candidate]) -> str:
    return listed([f"“{one.label}”" for one in some])


def table() -> pd.DataFrame:
    """One row for each accuracy that was reported; below it, what changes of that run do, if they are recorded."""
    return pd.DataFrame([_row(*one) for one in _shown()])


def _shown() -> list[tuple[str, Config, str, Config | None]]:
    """Of each row its name, what was trained, what was reported of it, and of which other row it is a change."""
    rows: list[tuple[str, Config, str, Config | None]] = []
    for step in story.STEPS:
        recorded = [label for label in step.told if find_seeds(step.configs[label], "full")]
        for told in (step.configs[label] for label in recorded or [step.headline]):
            rows.append((_title(told), told, f"{step.claimed:g} (the story)", None))
            rows += [(name, one, "", told) for name, one in _changes(told).items() if _is_known(one)]
    paper = paper_runs.table_6()["ResNet-20"]
    settings = f"weight decay {scientific(paper.weight_decay)}, {augmentation(paper)}, {paper.total_epochs} epochs"
    return [*rows, (f"ResNet-20, the paper's settings ({settings})", paper, f"{RESNET_20:g} (the paper)", None)]


def _title(told: Config) -> str:
    return f"{told.architecture.title}, {told.epochs} epochs{reduced(told, ', {}')}"


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
    found = comparison.change(changed, told)
    return f"{100 * found.mean:+.1f}{found.sure}" if found else ""


def _row(name: str, config: Config, reported: str, told: Config | None) -> dict[str, str]:
    records = find_seeds(config, "full")
    measured = missing(config, "full")
    if records:
        found = comparison.accuracy_of(records, "full")
        measured = f"{100 * found.mean:.1f}{found.sure}"
    n = count(records, config, "full")
    return {
        "network and training": f"↳ {name}" if told else name,
        "reported, %": reported,
        "measured, %": measured,
        "the change, points": _worth(config, told) if told else "",
        "n": n,
    }
