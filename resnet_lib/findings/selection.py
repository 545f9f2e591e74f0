"""Recorded runs as somebody asks for them: all of them, some by name, one of these."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from resnet_lib.config import Config, ConfigError
from resnet_lib.records.record import Record, Runs, read_record, runs_folder

MOST = 6  # settings that are shown where nobody says which: more curves than these are hard to tell apart


def finished(profile: str) -> list[Record]:
    """Every finished run of a profile, whatever its settings; a copy under a name of its own is none."""
    found = [read_record(path.parent) for path in sorted(runs_folder(profile).glob("*/result.json"))]
    return [record for record in found if record.config.run_id == record.path.name]


def chosen(names: str | list[str], profile: str) -> Runs:
    """The finished runs with one of these names, in which `*` stands for any part, by setting, the most accurate first.

    Without names, the MOST most accurate settings on the test images. Raises ConfigError for a name that no run has.
    """
    runs, names = finished(profile), [names] if isinstance(names, str) else names
    for name in names:
        if not any(fnmatchcase(run.path.name, name) for run in runs):
            raise ConfigError(f"no run at profile {profile} is named {name!r}: `resnet-lab runs` lists them")
    asked = [run for run in runs if any(fnmatchcase(run.path.name, name) for name in names)]
    found: Runs = {}
    for run in asked if names else [run for run in runs if run.config.held_out == "test"]:
        found.setdefault(setting(run.config), []).append(run)
    order = sorted(found, key=lambda name: -np.mean([run.accuracy for run in found[name]]))
    return {name: found[name] for name in (order if names else order[:MOST])}


def setting(config: Config) -> str:
    """A run's name without its seed: `resnet20-100ep-f8609c83b6f1`."""
    return f"{config.model}-{config.length}-{config.fingerprint}"


def one_of(runs: Runs, name: str = "") -> Record | None:
    """The run of that name, or, without one, the first of those that are there; None of none.

    Raises ConfigError for a name that is not among them.
    """
    found = {run.path.name: run for records in runs.values() for run in records}
    if name and name not in found:
        raise ConfigError(f"{name!r} is none of the runs that are shown: {', '.join(found) or 'there are none'}")
    return found[name] if name else next(iter(found.values()), None)
