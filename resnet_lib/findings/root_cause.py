"""What the factorial says, as tables, sentences and claims."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_lib.findings.comparison import accuracy_of
from resnet_lib.findings.curves import HIGH, first_drop, mean_curve
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.evidence import Cells, Effect, effects, gap, shares, weigh
from resnet_lib.findings.judgement import UNDECIDED, Claim, in_a_table, or_diverged, positive
from resnet_lib.findings.recorded import count
from resnet_lib.findings.stats import MIN_SEEDS, spread
from resnet_lib.questions import causes
from resnet_lib.questions.causes import FACTORS, HALF, PAPER
from resnet_lib.questions.factorial import Levels
from resnet_lib.questions.story import NOT_YET

LAST = "last, when all else is as the paper's,"


def settings_table(cells: Cells) -> pd.DataFrame:
    """One row per setting that is recorded, the most accurate first."""
    means = {levels: np.mean([one.correct for one in records]) for levels, records in cells.recorded.items()}
    order = sorted(means, key=lambda levels: -means[levels])
    before_drop = f"mean test accuracy of the {_epochs_before_drop(cells)} epochs before the first drop, %"
    return pd.DataFrame([_setting(levels, cells, before_drop) for levels in order])


def _epochs_before_drop(cells: Cells) -> int:
    """Over how many there is a mean: fewer than HIGH in a training so short that its rate drops sooner."""
    dropped = [records for records in cells.recorded.values() if records[0].history[-1]["drops"]]
    return min((first_drop(records).before.shape[1] for records in dropped), default=HIGH)


def _setting(levels: Levels, cells: Cells, before_drop: str) -> dict[str, str]:
    """A row: what is chosen, and what came of it, `before_drop` what was before the first drop."""
    records, estimate = cells.recorded[levels], accuracy_of(cells.records[levels], cells.profile)
    dropped = records[0].history[-1]["drops"]
    return {
        **_chosen(levels),
        "training accuracy, %": f"{100 * mean_curve(records, 'train_accuracy')[-1]:.1f}",
        before_drop: f"{100 * first_drop(records).before.mean():.1f}" if dropped else "",
        "test accuracy, %": f"{100 * estimate.mean:.1f}",
        "95 % interval": estimate.interval,
        "n": _count(levels, cells),
    }


def _chosen(levels: Levels) -> dict[str, str]:
    return {factor.name: factor.at(level).label for factor, level in zip(FACTORS, levels, strict=True)}


def _count(levels: Levels, cells: Cells) -> str:
    return count(cells.records[levels], causes.cell(levels, cells.budget), cells.profile)


def effects_table(cells: Cells, all_pairs: bool = True) -> pd.DataFrame:
    """One row per effect, once all of HALF is recorded; of the pairs all, or those whose interval excludes 0."""
    found = effects(cells) if cells.have(HALF) else []
    return pd.DataFrame(
        [
            {
                "factor": effect.name,
                "change": effect.change,
                "points": f"{100 * effect.estimate.mean:+.1f}",
                "95 % interval": effect.estimate.interval,
            }
            for effect in found
            if all_pairs or len(effect.factors) == 1 or not effect.estimate.low <= 0 <= effect.estimate.high
        ],
        columns=["factor", "change", "points", "95 % interval"],
    )


def known(cells: Cells) -> str:
    """What the intervals know of seeds, as a sentence."""
    parts = []
    for level, words in ((-1, "without LR drops"), (1, "with LR drops")):
        found = cells.spreads[level]
        each = [spread([record.correct for record in records]) for records in cells.repeated(level)]
        alone = ", ".join(f"{100 * one.sd:.2f}" for one in each)
        where = f"pooled from {alone}" if len(each) > 1 else "of one setting"
        where += ", taken to be that of all"
        parts.append(f"{100 * found.sd:.2f} points {words} ({where})" if found else f"unknown {words}")
    said = f"Seed spread of ResNet-20 in {cells.epochs} epochs, from the settings with {MIN_SEEDS} runs or more: "
    said += f"{' and '.join(parts)}."
    if any(cells.spreads.values()):
        said += (
            " The intervals of effects and shares rest on it; those of changes made alone and last are widened so that "
            "all of them hold at once."
        )
    if not all(cells.spreads.values()):
        said += " Where it is unknown, these are over the test images alone, and nothing is decided."
    return said


def conclusions(factorials: list[Cells]) -> str:
    """Which factor is the largest part of each way from the assumed settings to the paper's, as Markdown tables."""
    return "\n\n".join(in_a_table(verdicts(cells)) for cells in factorials)


def verdicts(cells: Cells) -> list[Claim]:
    """Whether the paper's settings are better, which change is the most of it, and whether each helps wherever made."""
    told = ", ".join(f"{FACTORS[f].name}: {FACTORS[f].suspect.label}" for f in cells.shares)
    way = f"from {cells.start_name} ({told}) to the paper's"
    network = f"ResNet-20, {cells.epochs} epochs"
    text = f"{network}: which change contributes most to the way {way}"
    if not cells.have(cells.way):
        lacking = [levels for levels in cells.way if not cells.records[levels]]
        done = f"{len(cells.way) - len(lacking)} of {len(cells.way)} cells are recorded"
        needed = [(causes.cell(levels, cells.budget), []) for levels in lacking]
        return [or_diverged(Claim(text, NOT_YET, done), *needed, profile=cells.profile)]
    if cells.profile != "full":
        return [Claim(text, UNDECIDED)]
    found, way_up = shares(cells), gap(cells)
    first, second, *_ = found
    lead, *others = _leads(found, cells)
    # Decided if the whole way, the first share and its lead before every other one are above zero.
    is_largest = all(positive(one) == "holds" for one in (way_up, lead, *others, first.estimate))
    largest = "The largest share of that (its Shapley value: averaged over all orders of the changes)"
    judged = [
        Claim(f"{network}: {way}, the accuracy rises", positive(way_up), str(way_up)),
        Claim(f"{largest} is that of {first.name}", "holds", f"ahead of {second.name} by {lead}")
        if is_largest
        else Claim(largest, UNDECIDED, f"{first.name} is ahead of {second.name} by {lead}"),
    ]
    for share in found:
        changes = [(cells.start, cells.alone[share.factor]), (cells.without[share.factor], PAPER)]
        alone, last = (weigh({after: 1.0, before: -1.0}, cells, 2 * len(found)) for before, after in changes)
        for difference, when in ((alone, f"alone, from {cells.start_name},"), (last, LAST)):
            text = f"Changing {share.name} ({share.change}) {when} raises the accuracy"
            judged.append(Claim(text, positive(difference), str(difference)))
    return judged


def _leads(found: list[Effect], cells: Cells) -> list[Estimate]:
    """How far the first of the shares is ahead of each other one, in intervals that hold jointly."""
    first, *others = (cells.shares[share.factor] for share in found)
    return [weigh({levels: first[levels] - one[levels] for levels in cells.way}, cells, len(others)) for one in others]
