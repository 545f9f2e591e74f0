"""What of the questions is recorded: the runs of the story and of the plan, and what is said where there is none."""

from __future__ import annotations

from resnet_lib.config import Config
from resnet_lib.questions import agenda
from resnet_lib.questions.story import NOT_YET, STEPS, step
from resnet_lib.records.find import Runs, find_diverged, find_runs
from resnet_lib.records.record import Record
from resnet_lib.records.run_folder import RunFolder


def recorded_story(profile: str) -> dict[str, Runs]:
    """The runs of every step, by notebook."""
    return {one.notebook: find_runs(one.configs, profile) for one in STEPS}


def overlay(steps: dict[str, Runs]) -> Runs:
    """All runs of several steps, under labels that name the step."""
    return {step(name).label(label): seeds for name, recorded in steps.items() for label, seeds in recorded.items()}


def recorded_plan(profile: str) -> Runs:
    """Every finished run that `resnet-lab full` has planned, by part."""
    runs: Runs = {}
    for part in agenda.parts():
        folders = [RunFolder.of(config.at(profile), profile) for config in part.configs]
        runs[part.name] = [run.record() for run in folders if run.finished]
    return runs


def missing(config: Config, profile: str) -> str:
    """What is said in place of the record of a config at a profile's size: that it diverged, or was not yet run."""
    return "; ".join(f"diverged at {where}" for where in find_diverged(config.at(profile), profile)) or NOT_YET


def runs_in_words(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def in_those_recorded(count: int) -> str:
    return f"in the {'one run' if count == 1 else f'{count} runs'} recorded"


def count(records: list[Record], config: Config, profile: str) -> str:
    """How many runs of a config are recorded, and how many more diverged."""
    diverged = len(find_diverged(config.at(profile), profile))
    return f"{len(records)}, {diverged} diverged" if records and diverged else str(len(records))
