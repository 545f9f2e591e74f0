"""How a sentence is judged: accuracies and their differences with intervals, and the verdict that they allow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from resnet_lib.config import Config
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.recorded import runs_in_words
from resnet_lib.findings.stats import accuracy_interval, images_needed, seeds_needed
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import find_diverged
from resnet_lib.records.record import Record

# Of what can be seen of each run, some may show it and others not: then it holds "in some runs".
Verdict = Literal["holds", "in some runs", "does not hold", "undecided", "not yet run", "diverged"]

UNDECIDED = "undecided"


@dataclass(frozen=True)
class Claim:
    """A sentence of the story and what the records say of it."""

    text: str
    verdict: Verdict
    evidence: str | Estimate = ""  # what it was judged by
    about: tuple[str, ...] = ()  # the labels of the runs that it needs, where it says so

    @property
    def brief(self) -> str:
        """The evidence, without what a table tells of it elsewhere."""
        return self.evidence.number if isinstance(self.evidence, Estimate) else self.evidence

    def __str__(self) -> str:
        return f"{self.text}: {self.verdict}{f' ({self.evidence})' if self.evidence else ''}."


def in_a_table(claims: Iterable[Claim]) -> str:
    """A row for each, as Markdown."""
    rows = [(one.text, one.verdict, str(one.evidence)) for one in claims]
    return "\n".join(f"| {' | '.join(row)} |" for row in [("claim", "verdict", "what was seen"), ("---",) * 3, *rows])


def or_diverged(claim: Claim, *needed: tuple[Config, list[Record]], profile: str) -> Claim:
    """The claim; if it is not yet judged because a run that it needs diverged, that instead.

    If it was judged, but by other seeds than all that were run, how many diverged is added to the evidence.
    """
    is_open = claim.verdict == NOT_YET
    asked = [config.at(profile) for config, records in needed if bool(records) != is_open]
    ended = [where for config in asked for where in find_diverged(config, profile)]
    if not ended:
        return claim
    more = f"at {'; '.join(ended)}" if is_open else f"{runs_in_words(len(ended))} more diverged"
    said = [more, str(claim.evidence)] if is_open else [str(claim.evidence), more]
    return replace(claim, verdict="diverged" if is_open else claim.verdict, evidence="; ".join(filter(None, said)))


def unjudged(text: str, profile: str, *needed: list[Record], about: tuple[str, ...] = ()) -> Claim | None:
    """The claim as it stands where a run that it needs is missing, or is not a full one, which alone settles anything.

    No measured number of a small profile enters a sentence. None where the claim can be judged.
    """
    if not all(needed):
        return Claim(text, NOT_YET, about=about)
    return None if profile == "full" else Claim(text, UNDECIDED, about=about)


def between(estimate: Estimate, low: float, high: float) -> Verdict:
    """Whether the true value lies between: undecided while the interval reaches across an edge, or leaves out seeds."""
    if estimate.seed_sd is None:
        return UNDECIDED
    if low < estimate.low and estimate.high < high:
        return "holds"
    return "does not hold" if estimate.high < low or estimate.low > high else UNDECIDED


def positive(estimate: Estimate) -> Verdict:
    """Whether a difference of accuracies is above zero."""
    return between(estimate, 0, 1)


def accuracy(records: list[Record]) -> Estimate:
    return accuracy_interval([record.correct for record in records])


def mean_accuracy(records: list[Record]) -> float:
    return float(np.mean([record.accuracy for record in records]))


def needs(a: list[Record], b: list[Record]) -> str:
    """How much it takes to find a difference as large as that of two networks, each of several runs, in words."""
    both = [[record.correct for record in records] for records in (a, b)]
    images, seeds = images_needed(*both), seeds_needed(*both)
    if math.isinf(images):
        return "no number of images would tell them apart"
    needed = f"{max(1, math.ceil(images)):,} images and at least {seeds:,} seeds per network"
    return f"to be found, a difference of this size needs at least {needed}"
