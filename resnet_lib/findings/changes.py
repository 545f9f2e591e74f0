"""ResNet-20 as the story trains it, and with something changed: its runs, and which end where the story's did.

And the story's other networks, beside which it stands.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_lib.config import Config
from resnet_lib.findings.accounts import AFTER_HUNDRED
from resnet_lib.findings.comparison import accuracy_of
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.judgement import UNDECIDED, Verdict, between
from resnet_lib.questions import causes, suspects
from resnet_lib.questions.suspects import ASSUMED, CIFAR_STEP, HYPOTHESES, SHOWN, Hypothesis
from resnet_lib.records.find import Runs, find_runs
from resnet_lib.records.record import Record


def runs(profile: str) -> Runs:
    """ResNet-20 as the story trains it for a hundred epochs, and with something changed, as far as it is recorded."""
    shown = {label: suspects.changed(*factors) for label, factors in {ASSUMED: (), **SHOWN}.items()}
    return {label: records for label, records in find_runs(shown, profile).items() if records}


def others() -> Runs:
    """The story's other networks of as many epochs, with the assumed settings, as far as they are recorded."""
    told = {config.architecture.title: config for _, config in suspects.OTHERS}
    return {title: records for title, records in find_runs(told, "full").items() if records}


AGAINST = {  # what the story tells that does not go with a change
    causes.STEM: "the story calls this network the paper's, whose stem is 3×3",
    causes.AUGMENTATION: "the story does not mention augmentation",
    causes.DROPS: "the story mentions drops, for its first network",
    causes.DECAY: "the story mentions more weight decay, for its first network",
}


@dataclass(frozen=True)
class Candidate:
    """A change with which ResNet-20 ends near the story's accuracy, or may."""

    label: str
    factors: tuple[int, ...]  # that it changes, of those that are varied together
    records: list[Record]
    end: Estimate
    verdict: Verdict  # holds, or undecided: the interval has accuracies that are near, and such as are not
    elsewhere: list[str]  # where the story's other networks end, trained so, too, if not where it tells

    @property
    def against(self) -> list[str]:
        """What speaks against it: what the story tells, and what its other networks do."""
        return [AGAINST[factor] for factor in self.factors if factor in AGAINST] + self.elsewhere


def candidates() -> list[Candidate]:
    """Those of the changes that are shown, and of all single ones, as far as they are recorded."""
    single = {label: one for label, one in suspects.one_at_a_time().items() if one.epochs == suspects.EPOCHS}
    configs = {label: one for label, one in single.items() if label != suspects.ASSUMED}
    configs |= {label: suspects.changed(*factors) for label, factors in SHOWN.items()}
    low, high = CIFAR_STEP.near
    found = []
    for label, records in find_runs(configs, "full").items():
        if not records:
            continue
        end = accuracy_of(records, "full")
        verdict = between(end, low, high)
        # Where no interval over seeds can be told, which is undecided as well, the mean has to do.
        if verdict == "holds" or (verdict == UNDECIDED and (end.seed_sd is not None or low < end.mean < high)):
            levels = causes.levels_of(configs[label]) or causes.HUNDRED
            factors = tuple(factor for factor, level in enumerate(levels) if level != causes.HUNDRED[factor])
            found.append(Candidate(label, factors, records, end, verdict, elsewhere(configs[label])))
    return found


def elsewhere(config: Config) -> list[str]:
    """What records say against assumptions of which this run of ResNet-20 is a part, and which are of others, too."""
    of_others = [one for one in HYPOTHESES if one.fields]
    assumed = [one for one in of_others if config in one.configs()[CIFAR_STEP.notebook].values()]
    return [said for hypothesis in assumed for said in _missed(hypothesis)]


def _missed(hypothesis: Hypothesis) -> list[str]:
    """The steps of a hundred epochs whose networks, trained as is assumed, all end elsewhere than the story tells."""
    said = []
    for step in AFTER_HUNDRED:
        runs = find_runs(hypothesis.configs()[step.notebook], "full")
        ends = {label: accuracy_of(records, "full") for label, records in runs.items() if records}
        if len(ends) == len(runs) and all(between(end, *step.near) == "does not hold" for end in ends.values()):
            titles = {step.configs[label].architecture.title: end for label, end in ends.items()}
            where = " and ".join(f"{title} ends at {end.number}, n = {end.seeds}" for title, end in titles.items())
            said.append(f"if it was “{hypothesis.name}”, {where}, not near {step.about}")
    return said
