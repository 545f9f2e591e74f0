"""What the learning rate did to ResNet-20: while it was high, once it had dropped, and where it never did."""

from __future__ import annotations

import pandas as pd

from resnet_lib.findings import comparison, evidence
from resnet_lib.findings.changes import others, runs
from resnet_lib.findings.curves import HIGH, LAST, SETTLED, drop_gains, first_drop, last_epochs, loss_end, mean_curve
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.judgement import mean_accuracy
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.findings.stats import over_seeds
from resnet_lib.questions import causes, story, suspects
from resnet_lib.questions.factorial import turned
from resnet_lib.questions.suspects import ASSUMED, NO_DROP, SMALL_RATE
from resnet_lib.records.record import Record
from resnet_lib.report import tables
from resnet_lib.report.wording import in_range, listed

FACTORS = (causes.AUGMENTATION, causes.DECAY)  # by which the runs with drops are told apart


def drops() -> str:
    """What the drops gave: of the assumed training, of others, and of the same without any."""
    found = runs("full")
    if ASSUMED not in found:
        return ""
    plain, cells = found[ASSUMED], evidence.find_cells(suspects.EPOCHS, "full")
    seen = first_drop(plain)
    before, gain = over_seeds(seen.before.mean(axis=1)), over_seeds(seen.gains, "points")
    sure = ", intervals over seeds alone" if gain.sure else ""
    said = (
        f"**The learning rate.** With the assumed settings ResNet-20 averaged {100 * before.mean:.1f} "
        f"%{before.sure} over the last {HIGH} epochs before its learning rate first dropped from "
        f"{plain[0].config.lr:g}, and {100 * seen.after.mean():.1f} % over the {SETTLED} after it "
        f"({100 * gain.mean:+.1f} points{gain.sure}, n = {gain.seeds}{sure})."
    )
    more = [_without(found[NO_DROP])] if NO_DROP in found else []
    more += [_small(found[SMALL_RATE])] if SMALL_RATE in found else []
    more += [*_of_others(), *twins(cells)]
    return "\n\n".join(filter(None, [said, _table(cells), "\n".join(f"- {one}" for one in more)]))


def _of_others() -> list[str]:
    """What the first drop gave the story's other networks, and where they stood before it."""
    found = others()
    if not found:
        return []
    before = [f"{100 * first_drop(records).before.mean():.1f} % ({title})" for title, records in found.items()]
    gains = [100 * gain for gain in drop_gains([record for records in found.values() for record in records])]
    return [
        f"The story's other networks averaged {listed(before)} over the {HIGH} epochs before their first drop, which "
        f"gave them {in_range(gains)} points ({runs_in_words(len(gains))})."
    ]


def _table(cells: Cells) -> str:
    """What the first drop gave by augmentation and weight decay, if more than the assumed settings are recorded."""
    rows = []
    for levels in (turned(causes.HUNDRED, *some) for some in ((), FACTORS[:1], FACTORS[1:], FACTORS)):
        if records := cells.records[levels]:
            row = {causes.FACTORS[factor].name: causes.FACTORS[factor].at(levels[factor]).label for factor in FACTORS}
            rows.append(row | _around_the_drop(records))
    of = (
        f"Mean test accuracy of ResNet-20, with the 3×3 stem, a learning rate of {story.TUNED.lr:g} and two drops, in %"
    )
    return f"{of}:\n\n{tables.markdown(pd.DataFrame(rows))}" if len(rows) > 1 else ""


def _around_the_drop(records: list[Record]) -> dict[str, str]:
    drop = first_drop(records)
    means = {
        f"{HIGH} epochs before the first drop": drop.before.mean(),
        f"{SETTLED} epochs after it": drop.after.mean(),
        "at the end": mean_accuracy(records),
    }
    return {name: f"{100 * mean:.1f}" for name, mean in means.items()} | {"n": str(len(records))}


def _without(undropped: list[Record]) -> str:
    """Where the same training ended whose rate never dropped."""
    last = 100 * last_epochs(undropped)
    return (
        f"Without any drop it ended at {comparison.accuracy_of(undropped, 'full').number} "
        f"({comparison.worth(causes.DROPS)}); its last {LAST} epochs ranged from {last.min():.1f} to "
        f"{last.max():.1f} %, {last.mean():.1f} % on average."
    )


def _small(records: list[Record]) -> str:
    """Where the same training ended that began at a smaller rate, and how its curves look."""
    ended = f"{comparison.accuracy_of(records, 'full').number} ({comparison.worth(causes.RATE)})"
    fitted = 100 * mean_curve(records, "train_accuracy")[-1]
    return (
        f"Begun at {records[0].config.lr:g}, with the same drops, it ended at {ended}, with {fitted:.1f} % of its "
        f"training images right; its test loss {loss_end(records)}."
    )


def twins(cells: Cells) -> list[str]:
    """What the drops gave runs that were one and the same training until then."""
    pairs = evidence.forks(cells)
    if not pairs:
        return []
    gains = sorted(100 * (dropped.accuracy - other.accuracy) for dropped, other in pairs)
    stems = sum(dropped.config.stem == "imagenet" for dropped, _ in pairs)
    with_stem = f" ({stems} with ImageNet's stem)" if stems else ""
    which = f"{len(pairs)} pairs of runs{with_stem} that are" if len(pairs) > 1 else f"one pair{with_stem} that is"
    return [
        f"In {which} identical until the first drop, the run with drops ended {in_range(gains)} points above its twin."
    ]
