"""The answer so far, in paragraphs, each said only as far as it was seen."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings import claims, evidence
from resnet_lib.findings.claims import NEAR
from resnet_lib.findings.curves import (
    HIGH,
    LAST,
    SETTLED,
    first_drop,
    last_epochs,
    loss_end,
    mean_curve,
    overfits,
)
from resnet_lib.findings.evidence import Cells
from resnet_lib.findings.judgement import accuracy, between
from resnet_lib.findings.stats import MIN_SEEDS, mean_interval
from resnet_lib.questions import agenda, causes, paper_runs, story, suspects
from resnet_lib.questions.wording import scientific
from resnet_lib.records.record import Record, find_runs, read_diverged, runs_folder
from resnet_lib.report import commands, other_networks
from resnet_lib.report.summary import AS_TOLD, AUGMENTED, NO_DROP, PAPER_ACCURACY, STEM_AUGMENTED, STEP, percent, runs

WHY_DECAY = (
    "A likely reason, not measured here: with batch norm, a heavier decay shrinks the weights, so that steps of the "
    "same rate turn them further ([van Laarhoven 2017](https://arxiv.org/abs/1706.05350))."
)


def answer(profile: str) -> str:
    """What the records of a profile say to the question of the title, as Markdown, a paragraph for each finding.

    Small profiles answer nothing, and tell how much is recorded.
    """
    of_resnet20 = (_while_it_was_high, _with_its_drops, _overfitting, _stem)
    findings = (*of_resnet20, other_networks.torch_hub, other_networks.resnet50, commands.reached)
    said = [say() for say in findings] if profile == "full" else []
    return "\n\n".join([*filter(None, said), _coverage(profile)])


def _while_it_was_high() -> str:
    """Where the learning rate kept ResNet-20 until it dropped, if that is where the story says."""
    found = runs("full")
    plain, undropped, augmented = (found.get(label, []) for label in (AS_TOLD, NO_DROP, AUGMENTED))
    if claims.near_until_drop(STEP, STEP.headline, plain, "full").verdict != "holds":
        return ""
    drop, more = first_drop(plain), [_without_drops(undropped)] if undropped else []
    if augmented:
        more.append(f"With random crops and flips it averaged {_before_and_after(augmented)}.")
    if paper_like := evidence.find_cells(suspects.EPOCHS, "full").records[causes.PAPER]:
        decay = scientific(paper_like[0].config.weight_decay)
        with_what = "these" if augmented else "random crops and flips"
        said = f"With {with_what} and a weight decay of {decay} it averaged {_before_and_after(paper_like)}."
        is_higher = augmented and first_drop(paper_like).before.mean() > first_drop(augmented).before.mean()
        more.append(f"{said} {WHY_DECAY}" if is_higher else said)
    said = (
        f"**The learning rate.** Trained as the lab assumes the story, ResNet-20 averaged near {STEP.claimed:g} % "
        f"(± {100 * NEAR:g} points) until its learning rate first dropped from {plain[0].config.lr:g}: "
        f"{100 * drop.before.mean():.1f} % over the last {HIGH} epochs before, {100 * drop.after.mean():.1f} % over "
        f"the {SETTLED} epochs after ({100 * drop.gain:+.1f} points{_sure(drop.gains)})."
    )
    return "\n\n".join(filter(None, [said, "\n".join(f"- {one}" for one in more)]))


def _before_and_after(records: list[Record]) -> str:
    drop = first_drop(records)
    before, after = 100 * drop.before.mean(), 100 * drop.after.mean()
    return f"{before:.1f} % before its first drop, {after:.1f} % after it (n = {len(records)})"


def _without_drops(undropped: list[Record]) -> str:
    """Where the same training ended whose rate never dropped, and what that shows."""
    last, reached = 100 * last_epochs(undropped), evidence.accuracy_of(undropped, "full")
    lost = evidence.worth("no LR drop", suspects.STORY, "full")
    ended = f"Without any drop it ended at {reached.number} ({lost}); its last {LAST} epochs ranged from "
    ended += f"{last.min():.1f} to {last.max():.1f} %."
    if lost.high >= 0 or abs(last.mean() - STEP.claimed) >= 100 * NEAR:
        return ended
    level = between(reached, STEP.claimed / 100 - NEAR, STEP.claimed / 100 + NEAR)
    decided = level == between(lost, -1, 0) == "holds"
    return (
        f"{ended} So{'' if decided else f', in {_recorded(undropped)},'} a learning rate that never came down was "
        f"enough to stop ResNet-20 near {STEP.claimed:g} %, without augmentation and at this weight decay."
    )


def _with_its_drops() -> str:
    plain = runs("full").get(AS_TOLD)
    if not plain:
        return ""
    near = STEP.claimed / 100 + NEAR
    cells = evidence.find_cells(suspects.EPOCHS, "full")
    reached = evidence.accuracy_in(cells.start, cells)
    if reached.mean < near:
        place = f"near {STEP.claimed:g} %, too" if reached.mean > near - 2 * NEAR else "even lower"
        return f"**With its drops, ResNet-20 ended {place}**: at {reached}."
    seen = "" if between(reached, near, 1) == "holds" else f" in {_recorded(plain)}"
    return (
        f"**With its drops, ResNet-20 did not stop at {STEP.claimed:g} %**{seen}, but at {reached}. Why "
        "the story's did is open. The write-up reports drops for its first network, and the lab assumes the same for "
        "this one: either they never took effect, or something else differed that was not told."
        f"{_what_comes_near(cells)}"
    )


def _what_comes_near(cells: Cells) -> str:
    """Which other settings, as far as they are recorded, end where the story does, told by what they change."""
    claimed, near = STEP.claimed / 100, []
    others = [levels for levels in cells.recorded if levels != cells.start]
    ends = {suspects.changed(levels): evidence.accuracy_in(levels, cells) for levels in others}
    told = {suspects.STORY, *ends}
    alone = {name: one for name, one in suspects.one_at_a_time().items() if one.epochs == cells.budget}
    found = find_runs({name: config for name, config in alone.items() if name not in told}, cells.profile)
    ends |= {name: accuracy(records) for name, records in found.items() if records}
    for name, end in sorted(ends.items(), key=lambda one: abs(one[1].mean - claimed)):
        if abs(end.mean - claimed) < NEAR:
            sure = "" if end.seed_sd is None else f" {end.interval}"
            near.append(f"{name} ({100 * end.mean:.1f} %{sure}, n = {end.seeds})")
    if not near:
        return ""
    return (
        f" Of the {len(ends)} other settings of ResNet-20 recorded in {cells.epochs} epochs, these ended within "
        f"{100 * NEAR:g} points of {STEP.claimed:g} %, in the runs recorded, the nearest first: {'; '.join(near)}."
    )


def _overfitting() -> str:
    found = runs("full")
    plain, augmented = found.get(AS_TOLD, []), found.get(AUGMENTED, [])
    if not plain or not all(map(overfits, plain)):
        return ""
    cure = "Whether the paper's random crops and flips prevent that is not yet run."
    if augmented:
        worth = evidence.worth("crop and flip", suspects.STORY, "full")
        cure = (
            f"With the paper's random crops and flips the same training came to {percent(augmented)} "
            f"({worth}), and its test loss {loss_end(augmented)}. "
            f"The paper's ResNet-20 has {PAPER_ACCURACY:g} %."
        )
    fitted = 100 * mean_curve(plain, "train_accuracy")[-1]
    return (
        f"**Overfitting.** With its drops, and without augmentation, ResNet-20 ended with {fitted:.1f} % of its "
        f"training images right, and its test loss {loss_end(plain)}. {cure}"
    )


def _stem() -> str:
    """What the stem of the story's other networks does to ResNet-20."""
    found = runs("full")
    stem, plain = found.get(suspects.STEM), found.get(AS_TOLD)
    if not stem or not plain:
        return ""
    augmented = ""
    if both := found.get(STEM_AUGMENTED):
        reached = evidence.accuracy_of(both, "full")
        is_near = between(reached, STEP.claimed / 100 - NEAR, STEP.claimed / 100 + NEAR) == "holds"
        where = f", near the story's {STEP.claimed:g} % (± {100 * NEAR:g} points)" if is_near else ""
        augmented = f" With random crops and flips, too, it came to {reached}{where}."
    cells = evidence.find_cells(suspects.EPOCHS, "full")
    wrong = tuple(-1 if place == evidence.BY_STEM else level for place, level in enumerate(causes.PAPER))
    if cells.have([wrong, causes.PAPER]):
        lost = evidence.weigh({wrong: 1.0, causes.PAPER: -1.0}, cells)
        ends = [percent(cells.records[levels]) for levels in (causes.PAPER, wrong)]
        augmented += f" With these and the paper's weight decay that stem turns {ends[0]} into {ends[1]} ({lost})."
    return (
        "**The stem.** The story's first network and torch.hub's have ImageNet's: a 7×7 convolution of stride 2, "
        f"then max-pool. On ResNet-20, with the story's settings, that alone turns {percent(plain)} into "
        f"{percent(stem)} ({evidence.worth(suspects.STEM, suspects.STORY, 'full')}).{augmented}"
    )


def _coverage(profile: str) -> str:
    planned = {config.at(profile).run_id for part in agenda.parts() for config in part.configs}
    recorded = {record.path for records in agenda.recorded(profile).values() for record in records}
    diverged = sum(read_diverged(runs_folder(profile) / name) is not None for name in planned)
    shown = story.runs(profile)
    steps = [step for step in story.STEPS if not any(shown[step.notebook].get(label) for label in step.told)]
    lacking = [f"the story's {step.claimed:g} % (step {step.notebook[:2]})" for step in steps]
    if not any(find_runs(paper_runs.table_6(), profile).values()):
        lacking.append("the paper's table")
    none = f"; none yet of {', '.join(lacking)}" if lacking else ""
    more = f", {diverged} diverged" if diverged else ""
    return f"{len(recorded)} of {len(planned)} planned runs are recorded{more}{none}."


def _sure(gains: np.ndarray) -> str:
    """The interval of a mean gain, in points, if there are runs enough."""
    if len(gains) < MIN_SEEDS:
        return ""
    low, high = mean_interval(100 * gains)
    return f" [{low:+.1f}, {high:+.1f}] over seeds alone, n = {len(gains)}"


def _recorded(records: list[Record]) -> str:
    return "the one run recorded" if len(records) == 1 else f"the {len(records)} runs recorded"
