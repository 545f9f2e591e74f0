"""Which runs are on disk, and where."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from resnet_lib.config import Config, checked_profile
from resnet_lib.records.record import DIVERGED, Record, RecordError, read_diverged, read_record

Runs = dict[str, list[Record]]  # label -> one record per seed; an empty list: not yet run


def reports_folder() -> Path:
    """Where records and reports live: `RESNET_LAB_REPORTS`, else `reports/` of the checkout, else of this folder."""
    if chosen := os.environ.get("RESNET_LAB_REPORTS"):
        return Path(os.path.expanduser(chosen)).resolve()
    checkout = Path(__file__).resolve().parents[2]
    return (checkout if (checkout / "notebooks").is_dir() else Path.cwd()) / "reports"


def runs_folder(profile: str) -> Path:
    """Where the runs of a profile are. Raises ConfigError for a name that is no profile's."""
    return reports_folder() / checked_profile(profile) / "runs"


def find_runs(configs: dict[str, Config], profile: str) -> Runs:
    """The finished runs of full-size `configs` at a profile's size, by label."""
    return {label: find_seeds(config.at(profile), profile) for label, config in configs.items()}


def find_seeds(config: Config, profile: str) -> list[Record]:
    """Every finished run of `config`, whatever its seed, in the order of the seeds.

    They are shown as `config` has it: of what it never came to, such as milestones past its end, a record may say
    otherwise. Raises RecordError for a record of another run: a default must never change without `protocol`.
    """
    found = runs_folder(profile).glob(f"{_folder_pattern(config)}/result.json")
    records = sorted((read_record(path.parent) for path in found), key=lambda record: record.config.seed)
    for record in records:
        if record.config.run_id != record.path.name:
            raise RecordError(f"{record.path} holds the record of another run: restore it, or delete the folder")
    return [replace(record, config=config.replace(seed=record.config.seed)) for record in records]


def find_diverged(config: Config, profile: str) -> list[str]:
    """Where runs of `config` diverged, in words, whatever their seeds."""
    found = sorted(runs_folder(profile).glob(f"{_folder_pattern(config)}/{DIVERGED}"))
    return [where for path in found if (where := read_diverged(path.parent)) is not None]


def _folder_pattern(config: Config) -> str:
    """The pattern of the folders of `config`, whatever their seeds: a copy under a name of its own is no other seed."""
    return config.run_id.replace(f"-s{config.seed}-", "-s*-")
