"""What the published report still lacks, and what it would cost."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas as pd

from resnet_lib.config import Config
from resnet_lib.questions import agenda
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report.tables import folded, machine, markdown
from resnet_lib.speed import cost


def to_train() -> list[Config]:
    """Every run of the agenda that has no record, and did not diverge, in its order."""
    return [config for part in agenda.parts() for config in part.configs if _is_open(config)]


def table(rate: Callable[[Config], float]) -> pd.DataFrame:
    """One row per part of the agenda, with the hours of its missing runs, one at a time; `rate` is in images/s."""
    rows, total = [], 0.0
    for part in agenda.parts():
        lacking = [config for config in part.configs if _is_open(config)]
        hours = sum(cost.seconds(config, rate(config)) for config in lacking) / 3600
        rows.append((part.name, len(part.configs), len(lacking), hours))
        total += hours
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows), total))
    texts = [
        (name, str(runs), str(lacking), f"{hours:,.{0 if hours >= 100 else 1}f}") for name, runs, lacking, hours in rows
    ]
    return pd.DataFrame(texts, columns=["part", "runs", "not yet run", "hours, one at a time"])


def outstanding_markdown(bench: dict[str, Any]) -> str:
    """The table at the rates of a machine that was measured, as Markdown."""
    expected = functools.cache(lambda kind: cost.expected(kind, bench))
    said = (
        f"Estimated for {machine(bench['environment'])}, with nothing else running, from the "
        "FLOP/s of the most similar network in its benchmark; ResNet-20 with ImageNet's stem takes about twice "
        "that. `resnet-lab full --plan` measures your machine."
    )
    found = table(lambda config: expected(cost.kind(config)))
    _, runs, lacking, hours = found.iloc[-1]
    return folded(f"{lacking} of {runs} runs, about {hours} hours one at a time", f"{markdown(found)}\n\n{said}")


def _is_open(config: Config) -> bool:
    return RunFolder.of(config, "full").is_open
