"""What the factorial says: what each factor is worth, and its share of the way from the story to the paper."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from resnet_lib import causes, factorial
from resnet_lib.causes import CELLS, FACTORS, PAPER, STORY, label
from resnet_lib.claims import UNDECIDED, Claim, accuracy, between
from resnet_lib.factorial import Levels
from resnet_lib.records import Record, Runs, find_runs
from resnet_lib.stats import Estimate, weighted_sum
from resnet_lib.story import NOT_YET

Cells = dict[Levels, list[Record]]


@dataclass(frozen=True)
class Effect:
    """What changing a factor, or two together beyond each alone, does to the accuracy."""

    name: str
    change: str
    estimate: Estimate


def cells_of(runs: Runs) -> Cells:
    """Runs by label -> by levels."""
    return {levels: runs.get(label(levels), []) for levels in CELLS}


def find_cells(epochs: int, profile: str) -> Cells:
    """What is recorded of the factorial at a budget."""
    return cells_of(find_runs(causes.labelled(epochs), profile))


def is_complete(cells: Cells) -> bool:
    return all(cells[levels] for levels in CELLS)


def weigh(weights: np.ndarray, cells: Cells, comparisons: int = 1) -> Estimate:
    """The sum of weight times accuracy over all cells, paired by image."""
    scores = [(weight, [r.correct for r in cells[levels]]) for weight, levels in zip(weights, CELLS, strict=True)]
    return weighted_sum([(weight, correct) for weight, correct in scores if abs(weight) > 1e-12], comparisons)


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
    for levels, records in cells.items():
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
            for effect in (effects(cells) if is_complete(cells) else [])
        ],
        columns=["factor", "change", "points", "95 % interval"],
    )


def conclusion(cells: Cells, profile: str, epochs: str) -> str:
    """Which factor takes the largest share of the way from the story's settings to the paper's, as Markdown."""
    return "\n".join(f"- {claim}" for claim in verdicts(cells, profile, epochs))


def verdicts(cells: Cells, profile: str, epochs: str) -> list[Claim]:
    text = f"At {epochs}, {{}} takes the largest share of the way from the story's settings to the paper's"
    if not is_complete(cells):
        done = sum(bool(records) for records in cells.values())
        return [Claim(text.format("one choice"), NOT_YET, f"{done} of {len(CELLS)} cells are recorded")]
    if profile != "full":
        return [Claim(text.format("one choice"), UNDECIDED)]
    found, weights = shares(cells), factorial.shapley(STORY, PAPER, CELLS)
    by_name = {FACTORS[f].name: weight for f, weight in weights.items()}
    lead = weigh(by_name[found[0].name] - by_name[found[1].name], cells)
    judged = [Claim(text.format(found[0].name), "holds" if lead.low > 0 else UNDECIDED, f"of {gap(cells)} in all")]
    for share in found:
        text = f"Mending {share.name} ({share.change}) helps on that way"
        judged.append(Claim(text, between(share.estimate, 0, 1), str(share.estimate)))
    return judged
