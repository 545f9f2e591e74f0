"""What combinations of factors say: what each factor is worth, and its share of the way from the story to the paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

from resnet_lib.findings.curves import one_until_the_drop
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.stats import MIN_SEEDS, Spread, spread, weighted_sum
from resnet_lib.questions import causes, factorial
from resnet_lib.questions.causes import ALL, DROPS, FACTORS, HALF, PAPER, RATE, STEM
from resnet_lib.questions.factorial import Levels
from resnet_lib.records.find import Runs, find_seeds
from resnet_lib.records.record import Record


@dataclass(frozen=True)
class Cells:
    """The runs of every combination of factors at a budget, as long as a profile lets them be."""

    records: dict[Levels, list[Record]]
    budget: int  # epochs, at full size
    epochs: int
    profile: str
    begin: Levels | None = None  # where the way to the paper's settings begins; None: at the story's

    @property
    def start(self) -> Levels:
        return self.begin or causes.start(self.budget)

    @property
    def start_name(self) -> str:
        name, other = "the assumed settings", causes.change(causes.start(self.budget), self.start)
        return f"{name} with {other}" if other else name

    @property
    def way(self) -> list[Levels]:
        return factorial.cells_between(self.start, PAPER)

    @property
    def shares(self) -> dict[int, dict[Levels, float]]:
        """Each factor's share of the way, as weights of its cells."""
        return factorial.shapley(self.start, PAPER)

    @property
    def alone(self) -> dict[int, Levels]:
        """Those of the start with one factor of the way changed, by factor."""
        return {f: factorial.turned(self.start, f) for f in self.shares}

    @property
    def without(self) -> dict[int, Levels]:
        """The paper's settings but for one factor of the way, by factor."""
        return {f: factorial.turned(PAPER, f) for f in self.shares}

    def have(self, levels: Iterable[Levels]) -> bool:
        return all(self.records[one] for one in levels)

    @cached_property
    def spreads(self) -> dict[int, Spread | None]:
        """How much seeds differ, pooled from `repeated`: by the level of DROPS, without which it is more."""
        return {
            level: spread(*([record.correct for record in records] for records in self.repeated(level)))
            for level in (-1, 1)
        }

    def repeated(self, level: int) -> list[list[Record]]:
        """The settings with MIN_SEEDS runs or more, at a level of DROPS."""
        settings = self.recorded.items()
        return [found for levels, found in settings if levels[DROPS] == level and len(found) >= MIN_SEEDS]

    @property
    def recorded(self) -> dict[Levels, list[Record]]:
        """Every setting with a run."""
        return {levels: records for levels, records in self.records.items() if records}

    @property
    def seeds_are_known(self) -> bool:
        """Whether the intervals on the way hold for other seeds, too."""
        return all(self.spreads[levels[DROPS]] for levels in self.way)


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
    """What is recorded at a budget, in epochs at full size."""
    configs = {levels: causes.cell(levels, budget).at(profile) for levels in ALL}
    records = {levels: find_seeds(config, profile) for levels, config in configs.items()}
    return Cells(records, budget, configs[PAPER].epochs, profile)


def factorials(profile: str, *more: int) -> list[Cells]:
    """What is recorded at each budget of a profile, and at `more`, the longest first, each once."""
    budgets = sorted({*causes.BUDGETS[profile], *more}, reverse=True)
    cells = [find_cells(budget, profile) for budget in budgets]
    return list({(one.start, *_fingerprints(one)): one for one in cells}.values())  # a small profile has several alike


def ways(factorials: list[Cells]) -> list[Cells]:
    """Each from the assumed settings to the paper's; where all of it is recorded, also from those with a wrong stem."""
    found = []
    for cells in factorials:
        wrong = replace(cells, begin=factorial.turned(cells.start, STEM))
        found += [cells, wrong] if wrong.have(wrong.way) else [cells]
    return found


def _fingerprints(cells: Cells) -> list[str]:
    return [causes.cell(levels, cells.budget).at(cells.profile).fingerprint for levels in cells.records]


def shown(factorials: list[Cells]) -> Runs:
    """Every recorded run of them, by what is chosen."""
    return {f"{one.budget} epochs, {levels}": one.recorded[levels] for one in factorials for levels in one.recorded}


def weigh(weights: dict[Levels, float], cells: Cells, comparisons: int = 1) -> Estimate:
    """The sum of weight times accuracy over cells, paired by image."""
    parts = [
        (weight, [record.correct for record in cells.recorded[levels]], cells.spreads[levels[DROPS]])
        for levels, weight in weights.items()
        if weight
    ]
    return weighted_sum(parts, comparisons)


def by_decay(cells: Cells) -> dict[float, list[Record]]:
    """Every run at the story's learning rate, by weight decay, the heavier first."""
    found: dict[float, list[Record]] = {}
    for levels, records in cells.recorded.items():
        if levels[RATE] == cells.start[RATE]:
            found.setdefault(records[0].config.weight_decay, []).extend(records)
    return dict(sorted(found.items(), reverse=True))


def forks(cells: Cells) -> list[tuple[Record, Record]]:
    """Pairs of runs, with drops and without, that were one and the same training until the first drop."""
    dropped = [levels for levels in cells.recorded if levels[DROPS] > 0]
    both = [(cells.records[levels], cells.records[factorial.turned(levels, DROPS)]) for levels in dropped]
    return [pair for with_drops, without in both for pair in one_until_the_drop(with_drops, without)]


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
    """Each factor's Shapley share of the way to the paper, the largest first; they add up to `gap`."""
    weights = cells.shares
    found = [Effect((f,), weigh(weights[f], cells, len(weights))) for f in weights]
    return sorted(found, key=lambda share: -share.estimate.mean)


def gap(cells: Cells) -> Estimate:
    """The whole way from the start to PAPER."""
    return weigh({PAPER: 1.0, cells.start: -1.0}, cells)
