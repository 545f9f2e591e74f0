"""What the factorial says: what each factor is worth, and its share of the way from the story to the paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from resnet_lib.findings.curves import mean_curve
from resnet_lib.findings.judgement import UNDECIDED, Claim, accuracy, positive
from resnet_lib.findings.stats import MIN_SEEDS, Estimate, Spread, spread, weighted_sum
from resnet_lib.questions import causes, factorial
from resnet_lib.questions.causes import CELLS, DROPS, FACTORS, HALF, PAPER, label
from resnet_lib.questions.factorial import Levels
from resnet_lib.questions.story import NOT_YET, missing
from resnet_lib.records.record import Record, find_runs

BY_DROPS = [factor.name for factor in FACTORS].index(DROPS)


@dataclass(frozen=True)
class Cells:
    """The runs of the factorial at a budget, as long as a profile lets them be."""

    records: dict[Levels, list[Record]]
    budget: int  # epochs, at full size
    epochs: int
    profile: str

    @property
    def start(self) -> Levels:
        return causes.start(self.budget)

    @property
    def way(self) -> list[Levels]:
        return causes.way(self.budget)

    @property
    def shares(self) -> dict[int, dict[Levels, float]]:
        """Each factor's share of the way, as weights of its cells."""
        return factorial.shapley(self.start, PAPER)

    @property
    def alone(self) -> dict[int, Levels]:
        """The story's settings with one factor of the way changed, by factor."""
        return {f: (*self.start[:f], PAPER[f], *self.start[f + 1 :]) for f in self.shares}

    @property
    def without(self) -> dict[int, Levels]:
        """The paper's settings but for one factor of the way, by factor."""
        return {f: (*PAPER[:f], self.start[f], *PAPER[f + 1 :]) for f in self.shares}

    def have(self, levels: Iterable[Levels]) -> bool:
        return all(self.records[one] for one in levels)

    @cached_property
    def spreads(self) -> dict[int, Spread | None]:
        """How much seeds differ, from the cells that have several: by the level of DROPS, without which it is more."""
        kinds: dict[int, list[list[np.ndarray]]] = {-1: [], 1: []}
        for levels, records in self.records.items():
            kinds[levels[BY_DROPS]].append([record.correct for record in records])
        return {level: spread(*configs) for level, configs in kinds.items()}

    @property
    def seeds_are_known(self) -> bool:
        """Whether the intervals on the way hold for other seeds, too."""
        return all(self.spreads[levels[BY_DROPS]] for levels in self.way)


@dataclass(frozen=True)
class Effect:
    """What changing a factor, or two together beyond each alone, does to the accuracy."""

    factors: tuple[int, ...]
    estimate: Estimate

    @property
    def name(self) -> str:
        return " and ".join(FACTORS[f].name for f in self.factors)

    @property
    def change(self) -> str:
        return "both, beyond each alone" if len(self.factors) > 1 else FACTORS[self.factor].change

    @property
    def factor(self) -> int:
        """Of a main effect or share. Raises ValueError for an interaction."""
        (factor,) = self.factors
        return factor


def find_cells(budget: int, profile: str) -> Cells:
    """What is recorded of the factorial at a budget, in epochs at full size."""
    runs = find_runs(causes.labelled(budget), profile)
    epochs = causes.cell(PAPER, budget).at(profile).epochs
    return Cells({levels: runs[label(levels)] for levels in CELLS}, budget, epochs, profile)


def weigh(weights: dict[Levels, float], cells: Cells, comparisons: int = 1, unit: str = "points") -> Estimate:
    """The sum of weight times accuracy over cells, paired by image."""
    parts = [
        (weight, [record.correct for record in cells.records[levels]], cells.spreads[levels[BY_DROPS]])
        for levels, weight in weights.items()
        if weight
    ]
    return weighted_sum(parts, comparisons, unit)


def effects(cells: Cells) -> list[Effect]:
    """Main effects, then interactions of two, the largest first; intervals hold for all of them together."""
    pairs = list(combinations(range(len(FACTORS)), 2))
    count = len(FACTORS) + len(pairs)
    found = []
    for group in ([(f,) for f in range(len(FACTORS))], pairs):
        rows = [Effect(which, weigh(factorial.effect(which, HALF), cells, count)) for which in group]
        found += sorted(rows, key=lambda row: -abs(row.estimate.mean))
    return found


def shares(cells: Cells) -> list[Effect]:
    """Each factor's Shapley share of the way from story to paper, the largest first; they add up to `gap`."""
    weights = cells.shares
    found = [Effect((f,), weigh(weights[f], cells, len(weights))) for f in weights]
    return sorted(found, key=lambda share: -share.estimate.mean)


def gap(cells: Cells) -> Estimate:
    """The whole way from the story's settings to PAPER."""
    return weigh({PAPER: 1.0, cells.start: -1.0}, cells)


def accuracy_in(levels: Levels, cells: Cells) -> Estimate:
    """The accuracy in a cell, with how much seeds differ in comparable cells, where that is known."""
    if not cells.spreads[levels[BY_DROPS]]:
        return accuracy(cells.records[levels])
    found = weigh({levels: 1.0}, cells, unit="%")
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


# --- as tables and sentences


def cells_table(cells: Cells) -> pd.DataFrame:
    """One row per cell, the most accurate first."""
    rows = []
    for levels, records in cells.records.items():
        estimate = accuracy_in(levels, cells) if records else None
        row = {factor.name: factor.at(level)[0] for factor, level in zip(FACTORS, levels, strict=True)}
        shown = f"{100 * estimate.mean:.1f} {estimate.interval}" if estimate else _absent(levels, cells)
        row["test accuracy, %"] = shown
        row["n"] = str(len(records))
        rows.append((-estimate.mean if estimate else 1, row))
    return pd.DataFrame([row for _, row in sorted(rows, key=lambda pair: pair[0])])


def way_table(cells: Cells) -> pd.DataFrame:
    """One row per cell on the way from the story's settings to the paper's, in that order."""
    rows = []
    for levels in cells.way:
        records = cells.records[levels]
        row = {FACTORS[f].name: FACTORS[f].at(levels[f])[0] for f in cells.shares}
        row |= {"training accuracy, %": "", "test accuracy, %": _absent(levels, cells)}
        row |= {"95 % interval": "", "n": str(len(records))}
        if records:
            estimate = accuracy_in(levels, cells)
            row["training accuracy, %"] = f"{100 * mean_curve(records, 'train_accuracy')[-1]:.1f}"
            row |= {"test accuracy, %": f"{100 * estimate.mean:.1f}", "95 % interval": estimate.interval}
        rows.append(row)
    return pd.DataFrame(rows)


def _absent(levels: Levels, cells: Cells) -> str:
    return missing(causes.cell(levels, cells.budget), cells.profile)


def effects_table(cells: Cells) -> pd.DataFrame:
    """One row per effect, once all of HALF is recorded."""
    return pd.DataFrame(
        [
            {
                "factor": effect.name,
                "change": effect.change,
                "points": f"{100 * effect.estimate.mean:+.1f}",
                "95 % interval": effect.estimate.interval,
            }
            for effect in (effects(cells) if cells.have(HALF) else [])
        ],
        columns=["factor", "change", "points", "95 % interval"],
    )


def known(cells: Cells) -> str:
    """What the intervals know of seeds, as a sentence."""
    parts = []
    for level, words in ((-1, "without LR drops"), (1, "with LR drops")):
        found = cells.spreads[level]
        kind = [records for levels, records in cells.records.items() if levels[BY_DROPS] == level]
        each = [spread([record.correct for record in records]) for records in kind]
        alone = ", ".join(f"{100 * one.sd:.2f}" for one in each if one)
        where = f"pooled from {alone}" if "," in alone else "of one cell, taken to be that of the others"
        parts.append(f"{100 * found.sd:.2f} points {words} ({where})" if found else f"unknown {words}")
    said = f"Seed spread of ResNet-20 in {cells.epochs} epochs, from the cells with {MIN_SEEDS} runs or more: "
    said += f"{' and '.join(parts)}."
    if any(cells.spreads.values()):
        said += (
            " The intervals here rest on it, those of first and last changes hold together, and those of the story's "
            "steps rest on a network's own runs: so they differ."
        )
    if not all(cells.spreads.values()):
        said += " Where it is unknown, intervals are over the test images alone, and nothing is decided."
    return said


def conclusion(cells: Cells) -> str:
    """Which factor is the largest part of the way from the story's settings to the paper's, as Markdown."""
    return "\n".join(f"- {claim}" for claim in verdicts(cells))


def verdicts(cells: Cells) -> list[Claim]:
    """Whether the paper's settings are better, which change is the most of it, and whether each helps wherever made."""
    told = ", ".join(f"{FACTORS[f].name}: {FACTORS[f].suspect[0]}" for f in cells.shares)
    way = f"the way from the story's settings ({told}) to the paper's"
    network = f"ResNet-20 in {cells.epochs} epochs"
    text = f"Which change contributes most to {way}, on {network}"
    if not cells.have(cells.way):
        done = sum(bool(cells.records[levels]) for levels in cells.way)
        return [Claim(text, NOT_YET, f"{done} of {len(cells.way)} cells are recorded")]
    if cells.profile != "full":
        return [Claim(text, UNDECIDED)]
    first, second, *_ = found = shares(cells)
    ahead, behind = (cells.shares[share.factor] for share in (first, second))
    lead = weigh({levels: ahead[levels] - behind[levels] for levels in cells.way}, cells)
    is_largest = positive(gap(cells)) == positive(lead) == positive(first.estimate) == "holds"
    contributes = "contributes most to that, averaged over all orders of the changes"
    judged = [
        Claim(f"On {network}, {way} raises the accuracy", positive(gap(cells)), str(gap(cells))),
        Claim(f"The change that {contributes}, is {first.name}", "holds", f"ahead of {second.name} by {lead}")
        if is_largest
        else Claim(f"Which change {contributes}", UNDECIDED, f"{first.name} is ahead of {second.name} by {lead}"),
    ]
    for share in found:
        changes = [(cells.start, cells.alone[share.factor]), (cells.without[share.factor], PAPER)]
        alone, last = (weigh({after: 1.0, before: -1.0}, cells, 2 * len(found)) for before, after in changes)
        for difference, when in ((alone, "as the first change"), (last, "as the last change")):
            text = f"Changing {share.name} ({share.change}) raises the accuracy {when}"
            judged.append(Claim(text, positive(difference), str(difference)))
    return judged
