"""What single changes of a training do to its accuracy and to its curves."""

from __future__ import annotations

import pandas as pd

from resnet_lib.config import Config
from resnet_lib.findings import comparison, symptoms
from resnet_lib.findings.judgement import mean_accuracy
from resnet_lib.findings.recorded import missing
from resnet_lib.questions import causes, field_guide, suspects
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import Runs, find_runs


def distinct(configs: dict[str, Config], profile: str) -> dict[str, Config]:
    """Without the changes that a small profile cannot tell from the first config."""
    base, *_ = configs.values()
    return {n: c for n, c in configs.items() if c is base or c.at(profile).fingerprint != base.at(profile).fingerprint}


def table(configs: dict[str, Config], profile: str) -> pd.DataFrame:
    """One row per change that was run: its accuracy, against that of the first row, and its symptoms.

    All columns are text. Of a difference, the interval by itself, and the one that holds together with those of all
    other rows, also of those that were not yet run.
    """
    told = distinct(configs, profile)
    rows, runs, absent = [], find_runs(told, profile), lacking(configs, profile)
    first, *_ = runs.values()
    for name, records in runs.items():
        if name in absent:
            continue
        alone = together = ""
        if records and first and records is not first:
            alone = comparison.difference(records, first, profile).without_unit
            together = comparison.difference(records, first, profile, len(runs) - 1).interval
        row = {
            "change": name,
            "test accuracy, %": f"{100 * mean_accuracy(records):.1f}" if records else missing(told[name], profile),
            "against the first row": alone,
            "interval, all rows at once": together,
        }
        rows.append(row | (symptoms.row(records) if records else dict.fromkeys(symptoms.COLUMNS, "")))
    return pd.DataFrame(rows)


def lacking(configs: dict[str, Config], profile: str) -> list[str]:
    """The names of those that were not yet run at a profile."""
    runs = find_runs(distinct(configs, profile), profile)
    return [name for name, found in runs.items() if not found and missing(configs[name], profile) == NOT_YET]


def shown(profile: str) -> Runs:
    """Every recorded run that tables of changes, accounts and plateaus show."""
    changed = [suspects.one_at_a_time(), suspects.leave_one_out(), causes.square(), field_guide.configs()]
    configs = [*(config for group in changed for config in group.values()), *suspects.accounts()]
    return find_runs({config.run_id: config for config in configs}, profile)
