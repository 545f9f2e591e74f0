"""What the factorial says: what each factor is worth, and its share of the way from the story to the paper."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from resnet_lib import causes, factorial, story
from resnet_lib.causes import CELLS, FACTORS, PAPER, STORY, label
from resnet_lib.claims import UNDECIDED, Claim, accuracy, between
from resnet_lib.factorial import Levels
from resnet_lib.records import Record, find_runs, find_seeds
from resnet_lib.stats import Estimate, Spread, spread, weighted_sum
from resnet_lib.story import NOT_YET


@dataclass(frozen=True)
class Cells:
    """The runs of the factorial at a budget, and some that tell how much seeds differ there."""

    records: dict[Levels, list[Record]]
    repeats: list[Record]  # of one config, one a seed

    @property
    def is_complete(self) -> bool:
        return all(self.records.values())

    @property
    def spread(self) -> Spread | None:
        return spread([record.correct for record in self.repeats])


@dataclass(frozen=True)
class Effect:
    """What changing a factor, or two together beyond each alone, does to the accuracy."""

    name: str
    change: str
    estimate: Estimate


def find_cells(epochs: int, profile: str) -> Cells:
    """What is recorded of the factorial at a budget; seeds differ as those of the story's ResNet-20 of that length."""
    runs = find_runs(causes.labelled(epochs), profile)
    told = [c for c in story.step("03_cifar_architecture").configs.values() if c.epochs == epochs]
    repeats = [record for config in told for record in find_seeds(config.at(profile), profile)]
    return Cells({levels: runs[label(levels)] for levels in CELLS}, repeats)


def weigh(weights: np.ndarray, cells: Cells, comparisons: int = 1) -> Estimate:
    """The sum of weight times accuracy over all cells, paired by image."""
    used = [(weight, levels) for weight, levels in zip(weights, CELLS, strict=True) if abs(weight) > 1e-12]
    scores = [(weight, [record.correct for record in cells.records[levels]]) for weight, levels in used]
    return weighted_sum(scores, comparisons, cells.spread)


def effects(cells: Cells) -> list[Effect]:
    """Main effects, then interactions of two, the largest first; intervals hold for all of them together."""
    pairs = list(combinations(range(len(FACTORS)), 2))
    count = len(FACTORS) + len(pairs)
    found = []
    for group in ([(f,) for f in range(len(FACTORS))], pairs):
        rows = []
        for which in group:
            name = " and ".join(FACTORS[f].name for f in which)
            change = "both, beyond each alone" if len(which) > 1 else FACTORS[which[0]].change
            rows.append(Effect(name, change, weigh(factorial.effect(which, CELLS), cells, count)))
        found += sorted(rows, key=lambda row: -abs(row.estimate.mean))
    return found


def shares(cells: Cells) -> list[Effect]:
    """Each factor's Shapley share of the way from STORY to PAPER, the largest first; they add up to `gap`."""
    found = factorial.shapley(STORY, PAPER, CELLS)
    rows = []
    for f, weights in found.items():
        rows.append(Effect(FACTORS[f].name, FACTORS[f].change, weigh(weights, cells, len(found))))
    return sorted(rows, key=lambda row: -row.estimate.mean)


def gap(cells: Cells) -> Estimate:
    """The whole way from STORY to PAPER, by the model of the factorial."""
    return weigh(factorial.prediction(PAPER, CELLS) - factorial.prediction(STORY, CELLS), cells)


def at(levels: Levels, cells: Cells) -> Estimate:
    """The accuracy at any levels, run or not, by the model of the factorial."""
    return weigh(factorial.prediction(levels, CELLS), cells)


# --- as tables and sentences


def cells_table(cells: Cells) -> pd.DataFrame:
    """A row a cell, the most accurate first."""
    rows = []
    for levels, records in cells.records.items():
        estimate = accuracy(records) if records else None
        row = {factor.name: factor.at(level)[0] for factor, level in zip(FACTORS, levels, strict=True)}
        row["test accuracy, %"] = f"{100 * estimate.mean:.1f} {estimate.interval}" if estimate else NOT_YET
        row["n"] = str(len(records))
        rows.append((-estimate.mean if estimate else 1, row))
    return pd.DataFrame([row for _, row in sorted(rows, key=lambda pair: pair[0])])


def effects_table(cells: Cells) -> pd.DataFrame:
    """A row an effect, as far as every cell is recorded."""
    return pd.DataFrame(
        [
            {
                "factor": effect.name,
                "change": effect.change,
                "points": f"{100 * effect.estimate.mean:+.1f}",
                "95 % interval": effect.estimate.interval,
            }
            for effect in (effects(cells) if cells.is_complete else [])
        ],
        columns=["factor", "change", "points", "95 % interval"],
    )


def conclusion(cells: Cells, profile: str, epochs: int) -> str:
    """Which factor takes the largest share of the way from the story's settings to the paper's, as Markdown."""
    return "\n".join(f"- {claim}" for claim in verdicts(cells, profile, epochs))


def verdicts(cells: Cells, profile: str, epochs: int) -> list[Claim]:
    text = f"At {epochs} epochs, {{}} takes the largest share of the way from the story's settings to the paper's"
    if not cells.is_complete:
        done = sum(map(bool, cells.records.values()))
        return [Claim(text.format("one choice"), NOT_YET, f"{done} of {len(CELLS)} cells are recorded")]
    if profile != "full":
        return [Claim(text.format("one choice"), UNDECIDED)]
    found, weights = shares(cells), factorial.shapley(STORY, PAPER, CELLS)
    by_name = {FACTORS[f].name: weight for f, weight in weights.items()}
    lead = weigh(by_name[found[0].name] - by_name[found[1].name], cells)
    is_known = lead.seed_sd is not None  # without it, the seeds of single runs decide as much as what is asked
    judged = [
        Claim(
            text.format(found[0].name),
            "holds" if lead.low > 0 and is_known else UNDECIDED,
            f"{found[0].estimate}, of {gap(cells)} in all",
        )
    ]
    for share in found:
        text = f"Mending {share.name} ({share.change}) helps on that way"
        verdict = between(share.estimate, 0, 1) if is_known else UNDECIDED
        judged.append(Claim(text, verdict, str(share.estimate)))
    return judged
