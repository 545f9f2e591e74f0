"""The answer so far, in paragraphs, each said only as far as it was seen."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_lib.findings import best_epoch, comparison
from resnet_lib.findings.accounts import AFTER_HUNDRED
from resnet_lib.findings.changes import candidates, runs
from resnet_lib.findings.curves import loss_end, mean_curve, overfits
from resnet_lib.findings.judgement import UNDECIDED, between, mean_accuracy, positive
from resnet_lib.findings.recorded import in_those_recorded, recorded_plan, recorded_story
from resnet_lib.questions import agenda, causes, paper_runs, story, suspects
from resnet_lib.questions.factorial import turned
from resnet_lib.questions.paper import WITH_AUGMENTATION, WITHOUT_AUGMENTATION
from resnet_lib.questions.suspects import ASSUMED, AUGMENTED, CIFAR_STEP, OTHERS, WRONG_STEM
from resnet_lib.questions.wording import scientific
from resnet_lib.records.find import find_runs, find_seeds, runs_folder
from resnet_lib.records.record import Record, read_diverged
from resnet_lib.report import learning_rate, other_networks, tables
from resnet_lib.report.wording import listed, percent

NOTHING = "nothing known"
HUB_NETWORK = "torch.hub's network"  # the story does not tell which
NOT_EXAMINED = (
    "Not examined: momentum or another optimizer, a schedule that waits for a plateau, images held out from training, "
    "a fault in the network's code."
)
ANCHOR = (
    f"(Published elsewhere, for ResNet-110: {WITHOUT_AUGMENTATION:g} % error without crops and flips, "
    f"{WITH_AUGMENTATION:g} % with them; [Huang et al. 2017](https://arxiv.org/abs/1608.06993).)"
)


def answer(profile: str) -> str:
    """What the records of a profile say to the question of the title, as Markdown, a paragraph for each finding.

    Small profiles answer nothing, and tell how much is recorded.
    """
    seen = (other_networks.told, _resnet20, learning_rate.drops, _overfitting, _stem)
    said = [say() for say in (*seen, _what_it_may_have_been)] if profile == "full" else []
    return "\n\n".join([*filter(None, said), coverage(profile)])


def _resnet20() -> str:
    """Where the paper's network for CIFAR-10 ended, trained as the story's is assumed to have been."""
    plain = runs("full").get(ASSUMED)
    if not plain:
        return ""
    reached, (low, high) = comparison.accuracy_of(plain, "full"), CIFAR_STEP.near
    seen = f" {in_those_recorded(len(plain))}" if between(reached, low, high) == UNDECIDED else ""
    told = f"{CIFAR_STEP.claimed:g} %"
    below = f"ended {'near' if reached.mean > low else 'well below'} {told}"
    place = f"did not stop at {told}" if reached.mean >= high else below
    ended = f"**ResNet-20, taken to be the story's network for CIFAR-10, {place}**{seen}: it ended at {reached}."
    return f"{ended}{_in_order(plain)}"


def _in_order(plain: list[Record]) -> str:
    """How far ResNet-20 ended from the story's other networks, there and here, in sentences after a space."""
    there, here, reversed_ = [], [], False
    for step in AFTER_HUNDRED:
        told = {label: find_seeds(step.configs[label], "full") for label in step.told}
        found = {step.configs[label].architecture.title: records for label, records in told.items() if records}
        if step is CIFAR_STEP or not found:
            continue
        apart = {title: comparison.compare(plain, records, "full") for title, records in found.items()}
        here += [f"{estimate.number} from {title}" for title, estimate in apart.items()]
        network = HUB_NETWORK if step.also else next(iter(found))
        there.append(f"{step.claimed - CIFAR_STEP.claimed:g} points below {network}")
        # The story may tell of any of a step's networks.
        reversed_ |= len(found) == len(told) and all(positive(estimate) == "holds" for estimate in apart.values())
    if not here:
        return ""
    said = f" In the story it ended {listed(there)}. Here it differs by {listed(here)}"
    if not reversed_:
        return f"{said}."
    wrong = "an assumption of the lab is wrong, or the story's network was not the paper's"
    return f"{said}: the order is reversed, so {wrong}."


def _overfitting() -> str:
    found = runs("full")
    plain, augmented = found.get(ASSUMED, []), found.get(AUGMENTED, [])
    if not plain or not all(map(overfits, plain)):
        return ""
    cure = "Whether the paper's random crops and flips prevent that is not yet run."
    if augmented:
        worth = comparison.worth(causes.AUGMENTATION)
        cure = (
            f"With the paper's random crops and flips it ended at {percent(augmented)} ({worth}), and its test loss "
            f"{loss_end(augmented)}. {ANCHOR}"
        )
    fitted = 100 * mean_curve(plain, "train_accuracy")[-1]
    lost = 100 * np.mean([best_epoch.bias(record) for record in plain])
    return (
        f"**Overfitting.** With the assumed settings ResNet-20 ended with {fitted:.1f} % of its training "
        f"images right and {percent(plain)} of the test images; its test loss {loss_end(plain)}, its accuracy "
        f"{lost:.1f} points below its best epoch. {cure}"
    )


def _stem() -> str:
    """What the stem of the story's other networks does to ResNet-20."""
    found = runs("full")
    stem, plain = found.get(WRONG_STEM), found.get(ASSUMED)
    if not stem or not plain:
        return ""
    augmented = ""
    right, wrong = (causes.cell(one, suspects.EPOCHS) for one in (causes.PAPER, turned(causes.PAPER, causes.STEM)))
    if lost := comparison.change(wrong, right):
        ends = [percent(find_seeds(config, "full")) for config in (right, wrong)]
        how = f"crops, flips and weight decay {scientific(right.weight_decay)}, the paper's"
        augmented = f"; with {how}, it turns {ends[0]} into {ends[1]} ({lost})"
    return (
        "**The stem.** ImageNet's is a 7×7 convolution of stride 2, then max-pool: all feature maps after it are a "
        f"quarter of the width and of the height. On ResNet-20 that alone turns {percent(plain)} into {percent(stem)} "
        f"({comparison.worth(causes.STEM)}){augmented}."
    )


def _what_it_may_have_been() -> str:
    """Which changes bring ResNet-20 where the story's ended, if it does not end there without any."""
    plain = runs("full").get(ASSUMED)
    if not plain or mean_accuracy(plain) < CIFAR_STEP.near[1]:
        return ""
    title, near = f"**What the story's {CIFAR_STEP.claimed:g} % may have been.**", candidates()
    is_open = between(comparison.accuracy_of(plain, "full"), *CIFAR_STEP.near) == UNDECIDED
    what = "If other runs end there, too, something" if is_open else "Something"
    said = f"{title} {what} unreported differed. Of the recorded changes of one setting, and of stem and "
    said += "augmentation together,"
    if not near:
        return f"{said} none brings ResNet-20 near it. {NOT_EXAMINED}"
    rows = [
        {
            "with": one.label,
            "it ends at": f"{one.end.number}, n = {one.end.seeds}",
            f"near {CIFAR_STEP.about}": "yes" if one.verdict == "holds" else one.verdict,
            **_beside(one.records),
            "what speaks against it": "; ".join(one.against) or NOTHING,
        }
        for one in near
    ]
    said += " these bring ResNet-20 near it, or may (other combinations: the tables below):"
    return f"{said}\n\n{tables.markdown(pd.DataFrame(rows))}\n\n{NOT_EXAMINED}"


def _beside(records: list[Record]) -> dict[str, str]:
    """A column: how far runs of ResNet-20 ended from the story's first network; none where that is not recorded."""
    step, config = OTHERS[0]  # the story's first network of a hundred epochs
    first = find_seeds(config, "full")
    head = f"less {config.architecture.title}'s (the story: {CIFAR_STEP.claimed - step.claimed:+g})"
    return {head: comparison.compare(records, first, "full").number} if first else {}


def coverage(profile: str) -> str:
    """How much of what is planned is recorded, and what of the story or the paper has nothing yet."""
    planned = {config.at(profile).run_id for part in agenda.parts() for config in part.configs}
    recorded = {record.path for records in recorded_plan(profile).values() for record in records}
    diverged = sum(read_diverged(runs_folder(profile) / name) is not None for name in planned)
    shown = recorded_story(profile)
    steps = [step for step in story.STEPS if not any(shown[step.notebook].get(label) for label in step.told)]
    lacking = [f"the story's {step.claimed:g} % (step {step.notebook[:2]})" for step in steps]
    if not any(find_runs(paper_runs.table_6(), profile).values()):
        lacking.append("the paper's table")
    none = f"; nothing yet of {', '.join(lacking)}" if lacking else ""
    more = f", {diverged} diverged" if diverged else ""
    return f"Planned runs that are recorded: {len(recorded)} of {len(planned)}{more}{none}."
