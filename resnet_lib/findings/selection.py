"""Recorded runs as somebody asks for them: all of them, some by name, one of these."""

from __future__ import annotations

import re
from contextlib import suppress
from fnmatch import fnmatchcase

import numpy as np

from resnet_lib.config import ConfigError
from resnet_lib.records.find import Runs, runs_folder
from resnet_lib.records.record import Record, RecordError, read_record

MOST = 6  # settings that are shown where nobody says which: more curves than these are hard to tell apart


def finished(profile: str, name: str = "*") -> list[Record]:
    """Every finished run of a profile whose name, or that of its setting, is `name`, in which `*` is any part.

    Without those that cannot be read, and copies under a name of their own: `resnet-lab runs verify` tells of them.
    """
    found = []
    for path in sorted(runs_folder(profile).glob("*/result.json")):
        run = path.parent
        if fnmatchcase(run.name, name) or fnmatchcase(setting(run.name), name):
            with suppress(RecordError):
                found.append(read_record(run))
    return [record for record in found if record.config.run_id == record.path.name]


def setting(run: str) -> str:
    """A run's name without its seed: `resnet20-100ep-f8609c83b6f1`."""
    return re.sub(r"-s\d+-(?=[0-9a-f]+$)", "-", run)


def chosen(names: str | list[str], profile: str) -> Runs:
    """The finished runs of these names (see `finished`), by setting, the most accurate first.

    Without names, the MOST most accurate settings on the test images. Raises ConfigError for a name that no run has.
    """
    names = [names] if isinstance(names, str) and names else names or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"names = {names!r} is not valid: give a run's name, or a list of names")
    runs: dict[str, Record] = {}
    for name in names or ["*"]:
        found = {record.path.name: record for record in finished(profile, name)}
        if names and not found:
            raise ConfigError(
                f"no finished run is named {name!r}: `resnet-lab runs --profile {profile}` lists them all"
            )
        runs |= found
    if not names:
        on_test = {name: record for name, record in runs.items() if record.config.held_out == "test"}
        runs = on_test or runs
    by_setting: Runs = {}
    for name, record in sorted(runs.items(), key=lambda item: item[1].config.seed):
        by_setting.setdefault(setting(name), []).append(record)
    order = sorted(by_setting, key=lambda name: -np.mean([record.accuracy for record in by_setting[name]]))
    return {name: by_setting[name] for name in (order if names else order[:MOST])}


def one_of(runs: Runs, name: str, profile: str) -> Record | None:
    """The most accurate of `runs`, or, if a name is given, of all that have it; None of none."""
    among = chosen(name, profile) if name else runs
    records = (record for found in among.values() for record in found)
    return max(records, key=lambda record: record.accuracy, default=None)
