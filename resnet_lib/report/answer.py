"""The answer so far, in paragraphs, each said only as far as it was seen."""

from __future__ import annotations

import numpy as np

from resnet_lib.findings import best_epoch, evidence
from resnet_lib.findings.changes import runs
from resnet_lib.findings.curves import loss_end, mean_curve, overfits
from resnet_lib.findings.judgement import between, mean_accuracy
from resnet_lib.findings.recorded import recorded_plan, recorded_story
from resnet_lib.questions import agenda, causes, paper_runs, story, suspects
from resnet_lib.questions.factorial import turned
from resnet_lib.questions.paper import RESNET_20, WITH_AUGMENTATION, WITHOUT_AUGMENTATION
from resnet_lib.questions.suspects import AS_TOLD, AUGMENTED, CIFAR_STEP, STEM_AUGMENTED, WRONG_STEM
from resnet_lib.records.find import find_runs, find_seeds, runs_folder
from resnet_lib.records.record import read_diverged
from resnet_lib.report import commands, learning_rate, other_networks
from resnet_lib.report.wording import percent

ANCHOR = (
    f"(Published elsewhere, for ResNet-110: {WITHOUT_AUGMENTATION:g} % error without crops and flips, "
    f"{WITH_AUGMENTATION:g} % with them; [Huang et al. 2017](https://arxiv.org/abs/1608.06993).)"
)


def answer(profile: str) -> str:
    """What the records of a profile say to the question of the title, as Markdown, a paragraph for each finding.

    Small profiles answer nothing, and tell how much is recorded.
    """
    of_resnet20 = (learning_rate.while_it_was_high, learning_rate.with_its_drops, _overfitting, _stem)
    findings = (*of_resnet20, other_networks.torch_hub, other_networks.resnet50, commands.reached)
    said = [say() for say in findings] if profile == "full" else []
    return "\n\n".join([*filter(None, said), _coverage(profile)])


def _overfitting() -> str:
    found = runs("full")
    plain, augmented = found.get(AS_TOLD, []), found.get(AUGMENTED, [])
    if not plain or not all(map(overfits, plain)):
        return ""
    cure = "Whether the paper's random crops and flips prevent that is not yet run."
    if augmented:
        worth = evidence.worth("full", causes.AUGMENTATION)
        cure = (
            f"With the paper's random crops and flips the same training came to {percent(augmented)} "
            f"({worth}), and its test loss {loss_end(augmented)}. "
            f"The paper's ResNet-20 has {RESNET_20:g} %. {ANCHOR}"
        )
    fitted = 100 * mean_curve(plain, "train_accuracy")[-1]
    lost = 100 * np.mean([best_epoch.bias(record) for record in plain])
    return (
        f"**Overfitting.** With its drops, and without augmentation, ResNet-20 ended with {fitted:.1f} % of its "
        f"training images right and {percent(plain)} of the test images, {fitted - 100 * mean_accuracy(plain):.1f} "
        f"points less. Its test loss {loss_end(plain)}, its accuracy {lost:.1f} points below its best epoch"
        f"{': what rises is mostly its confidence in its mistakes' if lost < 1 else ''}. {cure}"
    )


def _stem() -> str:
    """What the stem of the story's other networks does to ResNet-20."""
    found = runs("full")
    stem, plain = found.get(WRONG_STEM), found.get(AS_TOLD)
    if not stem or not plain:
        return ""
    augmented = ""
    if both := found.get(STEM_AUGMENTED):
        reached = evidence.accuracy_of(both, "full")
        where = f", near the story's {CIFAR_STEP.about}" if between(reached, *CIFAR_STEP.near) == "holds" else ""
        untold = (
            " That explains the story only if its network had both; the story tells of neither, and calls its network "
            "the paper's for CIFAR-10, whose stem is 3×3."
        )
        augmented = f" With random crops and flips, too, it came to {reached}{where}.{untold if where else ''}"
    cells = evidence.find_cells(suspects.EPOCHS, "full")
    wrong = turned(causes.PAPER, causes.STEM)
    if cells.have([wrong, causes.PAPER]):
        lost = evidence.weigh({wrong: 1.0, causes.PAPER: -1.0}, cells)
        ends = [percent(cells.records[levels]) for levels in (causes.PAPER, wrong)]
        also = "With random crops, flips and the paper's weight decay"
        augmented += f" {also}, this stem turns {ends[0]} into {ends[1]} ({lost})."
    if not any(find_seeds(config, "full") for config in causes.square().values() if config.stem == "cifar"):
        augmented += " What it costs torch.hub's networks, of 64 filters and more, is not yet run."
    return (
        "**The stem.** The story's first network and torch.hub's have ImageNet's: a 7×7 convolution of stride 2, "
        f"then max-pool, which leaves every stage maps of a quarter of the side. On ResNet-20, with the story's "
        f"settings, that alone turns {percent(plain)} into "
        f"{percent(stem)} ({evidence.worth('full', causes.STEM)}).{augmented}"
    )


def _coverage(profile: str) -> str:
    planned = {config.at(profile).run_id for part in agenda.parts() for config in part.configs}
    recorded = {record.path for records in recorded_plan(profile).values() for record in records}
    diverged = sum(read_diverged(runs_folder(profile) / name) is not None for name in planned)
    shown = recorded_story(profile)
    steps = [step for step in story.STEPS if not any(shown[step.notebook].get(label) for label in step.told)]
    lacking = [f"the story's {step.claimed:g} % (step {step.notebook[:2]})" for step in steps]
    if not any(find_runs(paper_runs.table_6(), profile).values()):
        lacking.append("the paper's table")
    none = f"; none yet of {', '.join(lacking)}" if lacking else ""
    more = f", {diverged} diverged" if diverged else ""
    return f"{len(recorded)} of {len(planned)} planned runs are recorded{more}{none}."
