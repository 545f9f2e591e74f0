"""The commands that the README recommends, and what they reached."""

from __future__ import annotations

from typing import Any

from resnet_lib.config import Config
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.questions import causes, paper_runs, suspects
from resnet_lib.questions.paper import RESNET_20
from resnet_lib.questions.wording import reduced, scientific
from resnet_lib.records.find import find_seeds
from resnet_lib.records.record import Record
from resnet_lib.report import tables
from resnet_lib.report.wording import duration

# Of `run`; others by --set.
OPTIONS = ("epochs", "milestones", "lr", "weight_decay", "crop", "flip", "precision", "seed")


def command(config: Config) -> str:
    """What trains a config of the default recipe."""
    usual, chosen = Config(model=config.model).model_dump(), config.model_dump()
    length = "iterations" if config.iterations else "epochs"
    other = {name: value for name, value in chosen.items() if value != usual[name] or name == length}
    is_option = {name: name in OPTIONS and (name, other[name]) != ("flip", "alternating") for name in other}
    parts = [f"resnet-lab run --model {config.model}"]
    for name in sorted(filter(is_option.get, other), key=OPTIONS.index):
        parts.append(f"--{name.replace('_', '-')} {_text(other[name])}".removesuffix(" true"))
    parts += [f"--set {name}={_text(value)}" for name, value in other.items() if not is_option[name]]
    return " ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return scientific(value) if isinstance(value, float) and value < 1e-3 else str(value)


COMMANDS = {  # what each trains
    command(suspects.changed(causes.AUGMENTATION)): suspects.changed(causes.AUGMENTATION),
    "resnet-lab run --model resnet20 --recipe paper": paper_runs.table_6()["ResNet-20"],
    "resnet-lab run --model resnet20 --recipe fast": paper_runs.FAST,
}

CHOSEN = (
    f" Its optimizer is Muon; its length, {paper_runs.FAST.epochs} epochs, and Muon's rate were chosen after 18 epochs "
    "had fallen short on the test images, so this is slightly optimistic."
)


def reached() -> str:
    """Each command that is recorded with what it reached, as Markdown."""
    lines, seeds = [], set()
    for line, config in COMMANDS.items():
        if records := find_seeds(config, "full"):
            seeds |= {record.config.seed for record in records}
            ended = ", ".join(f"{100 * record.accuracy:.2f} % (seed {record.config.seed})" for record in records)
            ended += _left_out({record.config.seed for record in records})
            below = sum(record.accuracy < RESNET_20 / 100 for record in records)
            of_all = f" in {below} of {runs_in_words(len(records))}" if len(records) > 1 else ""
            short = f" Below {RESNET_20:g} %{of_all}." if below else ""
            chosen = CHOSEN if config == paper_runs.FAST else ""
            lines.append(f"- `{line}`{reduced(config, ', in {}')}: {ended}; {_times(records)}.{short}{chosen}")
    if not lines:
        return ""
    said = (
        f"**Commands meant to reach the paper's {RESNET_20:g} %**, and what they reached. These runs are recorded, so "
        f"the commands only show them; with `--seed {1 + max(seeds)}` they train."
    )
    return "\n\n".join([said, "\n".join(lines)])


def _left_out(seeds: set[int]) -> str:
    """The seeds below the largest that have no record: nobody chose among results."""
    lacking = sorted({*range(max(seeds))} - seeds)
    return f"; seed {' and '.join(map(str, lacking))} not yet run" if lacking else ""


def _times(records: list[Record]) -> str:
    """How long training took on each machine; runs that moved are told of only if there are no others."""
    at_home = [record for record in records if len(record.seconds_by_device) == 1]
    took: dict[tuple[str, ...], list[list[float]]] = {}
    for record in at_home or records:
        places = tuple(tables.machines(record, leave_out="instructions"))  # which the first records do not name
        took.setdefault(places, []).append(list(record.seconds_by_device.values()))
    parts = []
    for places, runs_there in took.items():
        each = [
            f"{_in_range(sorted(seconds))} on {place}"
            for place, seconds in zip(places, zip(*runs_there, strict=True), strict=True)
        ]
        parts.append(f"{', then '.join(each)} ({runs_in_words(len(runs_there))})")
    return "; ".join(parts)


def _in_range(seconds: list[float]) -> str:
    low, high = duration(seconds[0]), duration(seconds[-1])
    same_unit = low.partition(" ")[2] == high.partition(" ")[2]
    return low if low == high else f"{low.partition(' ')[0] if same_unit else low} to {high}"
