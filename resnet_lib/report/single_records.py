"""What has to be known of single `full` records: what they tell themselves, and what was noted by hand."""

from __future__ import annotations

import re
from itertools import pairwise

from resnet_lib.findings import evidence, single_changes
from resnet_lib.findings.recorded import recorded_plan, recorded_story, runs_in_words
from resnet_lib.questions import paper_runs
from resnet_lib.records.find import Runs, find_runs, reports_folder
from resnet_lib.records.record import Record
from resnet_lib.report import commands

NOTES = "NOTES.md"  # beside the records, a list in Markdown


def about() -> str:
    """A list in Markdown; empty if there is nothing to know."""
    by_setting: Runs = {}
    for record in published():
        by_setting.setdefault(re.sub(r"-s\d+-", "-*-", record.path.name), []).append(record)
    records = [record for found in by_setting.values() for record in found]
    told = [_apart(name, found) for name, found in by_setting.items()]
    told += [_went_on(record) for record in records] + [_uncommitted(record) for record in records]
    lines = [f"- {line}" for line in told if line]
    notes = reports_folder() / "full" / NOTES
    return "\n".join([*lines, *([notes.read_text(encoding="utf-8").strip()] if notes.exists() else [])])


def published() -> list[Record]:
    """Every run that the pages tell of, by name: one's own beside them are nobody's concern."""
    told = [recorded_plan("full"), evidence.shown(evidence.factorials("full")), single_changes.shown("full")]
    told += [*recorded_story("full").values(), find_runs(paper_runs.configs() | commands.COMMANDS, "full")]
    found = {record.path.name: record for runs in told for records in runs.values() for record in records}
    return [found[name] for name in sorted(found)]


def _apart(name: str, found: list[Record]) -> str:
    """Whether runs of a setting were trained with different versions of torch."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for record in sorted(found, key=lambda record: record.config.seed):
        where = {**record.result["environment"], **record.trained_in[-1]}
        seeds.setdefault((_release(where["torch"]), where["device_name"]), []).append(record.config.seed)
    if len({torch for torch, _ in seeds}) < 2:
        return ""
    parts = [
        f"{'seed' if len(of) == 1 else 'seeds'} {', '.join(map(str, of))} with {_with(*how)}"
        for how, of in seeds.items()
    ]
    return (
        f"The {runs_in_words(len(found))} of `{name}` were not all trained with the same PyTorch: {'; '.join(parts)}."
    )


def _went_on(record: Record) -> str:
    """Where a run went on on another device, or with another version of torch."""
    parts, last = [], record.result["environment"]  # for sessions of early records, which tell neither
    for before, after in pairwise({**last, **session} for session in record.trained_in):
        one, other = ((_release(session["torch"]), session["device_name"]) for session in (before, after))
        if one != other:
            if not parts:
                parts.append(f"began with {_with(*one)}")
            parts.append(f"went on from step {after['from_step']:,} with {_with(*other)}")
    return f"`{record.path.name}` {', and '.join(parts)}." if parts else ""


def _uncommitted(record: Record) -> str:
    changed = record.result["commit"].endswith("with changes")
    return f"`{record.path.name}` was trained with uncommitted changes." if changed else ""


def _with(torch: str, device: str) -> str:
    return f"torch {torch} on {device}"


def _release(version: str) -> str:
    """`2.15.0+cu132` -> `2.15`."""
    return ".".join(version.partition("+")[0].split(".")[:2])
