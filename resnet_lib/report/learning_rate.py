"""What the learning rate did to ResNet-20: while it was high, where it never dropped, and once it had."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings import accounts, evidence, sentences
from resnet_lib.findings.changes import lookalikes, runs
from resnet_lib.findings.curves import HIGH, LAST, SETTLED, first_drop, last_epochs, rise_by_chance
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.judgement import UNDECIDED, between
from resnet_lib.findings.recorded import in_those_recorded, runs_in_words
from resnet_lib.findings.stats import MIN_SEEDS, Estimate, mean_interval
from resnet_lib.questions import causes, factorial, suspects
from resnet_lib.questions.suspects import AS_TOLD, AUGMENTED, CIFAR_STEP, NO_DROP
from resnet_lib.questions.wording import scientific
from resnet_lib.records.record import Record
from resnet_lib.report.wording import in_range

WHY_DECAY = (
    "A likely reason, not measured here: with batch norm, a heavier decay shrinks the weights, so that steps of the "
    "same rate turn them further ([van Laarhoven 2017](https://arxiv.org/abs/1706.05350))."
)
UNTOLD = (
    ", as momentum or another optimizer, a schedule that waits for a plateau, or images held out from training: none "
    "of these is varied on the story's training here"
)


def while_it_was_high() -> str:
    """Where the learning rate kept ResNet-20 until it dropped, if that is where the story says."""
    found = runs("full")
    plain, undropped, augmented = (found.get(label, []) for label in (AS_TOLD, NO_DROP, AUGMENTED))
    if sentences.near_until_drop(CIFAR_STEP, CIFAR_STEP.headline, plain, "full").verdict != "holds":
        return ""
    drop, more = first_drop(plain), [_without_drops(undropped)] if undropped else []
    cells = evidence.find_cells(suspects.EPOCHS, "full")
    if lighter := cells.records[factorial.turned(causes.HUNDRED, causes.DECAY)]:
        decay = scientific(lighter[0].config.weight_decay)
        more.append(f"With a weight decay of {decay} it averaged {_before_and_after(lighter)}.")
    if augmented:
        more.append(f"With random crops and flips it averaged {_before_and_after(augmented)}.")
    if paper_like := cells.records[causes.PAPER]:
        decay = scientific(paper_like[0].config.weight_decay)
        with_what = "these" if augmented else "random crops and flips"
        more.append(f"With {with_what} and a weight decay of {decay} it averaged {_before_and_after(paper_like)}.")
        if augmented and _is_higher(paper_like, augmented):
            more[-1] += f" {WHY_DECAY}"
    if pairs := evidence.forks(cells):
        more.append(_forks(pairs))
    before, after = (f"{100 * seen.mean():.1f} %" for seen in (drop.before, drop.after))
    said = (
        f"**The learning rate.** With the story's assumed settings, ResNet-20 averaged {before} over the last {HIGH} "
        f"epochs before its learning rate first dropped from {plain[0].config.lr:g} (near "
        f"{CIFAR_STEP.about}{_in_each(len(plain))}), and {after} over the {SETTLED} epochs after "
        f"({100 * drop.gain:+.1f} points{_sure(drop.gains)})."
    )
    return "\n\n".join(filter(None, [said, "\n".join(f"- {one}" for one in more)]))


def _forks(pairs: list[tuple[Record, Record]]) -> str:
    """What the drops gave runs that were one and the same training until then, in a sentence."""
    gains = sorted(100 * (dropped.accuracy - other.accuracy) for dropped, other in pairs)
    stems = sum(dropped.config.stem == "imagenet" for dropped, _ in pairs)
    with_stem = f" ({stems} with ImageNet's stem)" if stems else ""
    told = (
        f"{len(pairs)} pairs of runs{with_stem} that are" if len(pairs) > 1 else f"one pair of runs{with_stem} that is"
    )
    return (
        f"In {told} one and the same training until the first drop, the accuracy of the one that dropped, less that of "
        f"the other, ended at {in_range(gains)} points."
    )


def _in_each(count: int) -> str:
    return f" in each of {runs_in_words(count)}" if count > 1 else ""


def _is_higher(some: list[Record], others: list[Record]) -> bool:
    """Whether each of `some` stood higher before its first drop than any of the others, by more than chance gives."""
    lowest, highest = first_drop(some).before.mean(axis=1).min(), first_drop(others).before.mean(axis=1).max()
    return lowest - highest > max(map(rise_by_chance, [*some, *others]))


def _before_and_after(records: list[Record]) -> str:
    drop = first_drop(records)
    before, after = 100 * drop.before.mean(), 100 * drop.after.mean()
    return (
        f"{before:.1f} % over the {HIGH} epochs before its first drop, {after:.1f} % over the {SETTLED} after it "
        f"(n = {len(records)})"
    )


def _without_drops(undropped: list[Record]) -> str:
    """Where the same training ended whose rate never dropped, and what that shows."""
    last, reached = 100 * last_epochs(undropped), evidence.accuracy_of(undropped, "full")
    lost = evidence.worth("full", causes.DROPS)
    ended = f"Without any drop it ended at {reached.number} ({lost}); its last {LAST} epochs ranged from "
    ended += f"{last.min():.1f} to {last.max():.1f} %, {last.mean():.1f} % on average."
    low, high = CIFAR_STEP.near
    levels = np.array([[record.accuracy for record in undropped], last.mean(axis=1) / 100])
    if lost.high >= 0 or levels.min() <= low or levels.max() >= high:
        return ended
    decided = all(verdict == "holds" for verdict in (between(reached, low, high), between(lost, -1, 0)))
    seen = "" if decided else f", {in_those_recorded(len(undropped))},"
    return (
        f"{ended} So{seen} a learning rate that never came down kept ResNet-20 near {CIFAR_STEP.claimed:g} %, without "
        "augmentation and at this weight decay."
    )


def with_its_drops() -> str:
    plain = runs("full").get(AS_TOLD)
    if not plain:
        return ""
    low, high = CIFAR_STEP.near
    cells = evidence.find_cells(suspects.EPOCHS, "full")
    reached = evidence.accuracy_in(cells.start, cells)
    is_near = between(reached, low, high)
    seen = f" {in_those_recorded(len(plain))}" if is_near == UNDECIDED else ""
    if reached.mean < high:
        place = f"{'near' if reached.mean > low else 'well below'} {CIFAR_STEP.claimed:g} %"
        return f"**With its drops, ResNet-20 ended {place}**{seen}: at {reached}."
    return (
        f"**With its drops, ResNet-20 did not stop at {CIFAR_STEP.claimed:g} %**{seen}, but at {reached}. Why "
        "the story's did is open. The write-up reports drops for its first network, and the lab assumes the same for "
        f"this one: either they never took effect, or something else differed that was not told{UNTOLD}."
        f"{accounts.nearest('full')}"
        f"{_what_comes_near(cells)}"
    )


def _what_comes_near(cells: Cells) -> str:
    """Which other settings, as far as they are recorded, end where the story does, told by what they change."""
    found = lookalikes(cells)
    of = f" Of the {found.others} of ResNet-20 recorded in {cells.epochs} epochs"
    near, undecided = _told(found.near), _told(found.undecided)
    parts = []
    if near:
        parts += [f"{of}, {len(near)} ended near {CIFAR_STEP.about}:", "\n".join(f"- {one}" for one in near)]
    if undecided:
        first, place = (f"{len(undecided)} more", "it") if near else (f"{of}, {len(undecided)}", CIFAR_STEP.about)
        parts.append(f"{first} ended near {place} in the runs recorded, undecided: {'; '.join(undecided)}.")
    return "\n\n".join(parts)


def _told(ends: dict[str, Estimate]) -> list[str]:
    """Of settings, what they change, with where they ended."""
    return [f"{name} ({100 * end.mean:.1f} %{end.sure}, n = {end.seeds})" for name, end in ends.items()]


def _sure(gains: np.ndarray) -> str:
    """The interval of a mean gain, in points, if there are runs enough."""
    if len(gains) < MIN_SEEDS:
        return ""
    low, high = mean_interval(100 * gains)
    return f" [{low:+.1f}, {high:+.1f}] over seeds alone, n = {len(gains)}"
