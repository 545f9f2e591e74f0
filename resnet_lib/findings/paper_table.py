"""What the lab's runs say of the paper: the errors of its Table 6, the plain nets of its Figure 6."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from resnet_lib.findings import best_epoch
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.judgement import (
    UNDECIDED,
    Claim,
    Verdict,
    accuracy,
    between,
    in_a_table,
    or_diverged,
    unjudged,
)
from resnet_lib.findings.recorded import count, missing
from resnet_lib.findings.sentences import better
from resnet_lib.findings.stats import MIN_SEEDS, over_seeds
from resnet_lib.questions import paper_runs
from resnet_lib.questions.paper import TABLE_6, Published
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.find import Runs
from resnet_lib.records.record import Record

CLOSE = 0.005  # errors no further apart (share of the images) agree: five runs of the paper's ResNet-110 have sd 0.0016
ENOUGH = 40  # ways of dealing runs to two networks, from which on their complete separation is rarer than 1 in 20


def table(runs: Runs, profile: str) -> pd.DataFrame:
    """One row per network: the error that the paper prints beside that of our last epoch. All columns are text."""
    rows = []
    for label, config in paper_runs.configs().items():
        records, config = runs.get(label, []), config.at(profile)
        published = TABLE_6.get(config.model)
        found = error(records) if records else None
        rows.append(
            {
                "network": label,
                "images": f"{config.train_size:,}",
                "iterations": f"{config.iterations:,}",
                "error %, paper": printed(published) if published and profile != "smoke" else "",
                "error %, ours": f"{100 * found.mean:.2f}" if found else missing(config, profile),
                "95 % interval": found.interval if found else "",
                "training error %": f"{100 * training_error(records):.2f}" if found else "",
                "n": count(records, config, profile),
            }
        )
    return pd.DataFrame(rows)


def printed(published: Published) -> str:
    return f"{published.error:.2f}" + (f" (best; mean {published.mean:.2f})" if published.mean else "")


def error(records: list[Record]) -> Estimate:
    """Error on the held-out images at the last epoch, 0 to 1."""
    found = accuracy(records)
    return replace(found, mean=1 - found.mean, low=1 - found.high, high=1 - found.low)


def training_error(records: list[Record]) -> float:
    """Error on the training images over the last epoch, as they were trained on; mean over seeds."""
    return 1 - sum(record.history[-1]["train_accuracy"] for record in records) / len(records)


def conclusion(runs: Runs, profile: str) -> str:
    """Whether the paper's table comes out again, as Markdown."""
    said = verdicts(runs, profile)
    judged = [claim for claim in said if claim.verdict != NOT_YET]
    parts = [in_a_table(judged)] if judged else []
    if lacking := len(said) - len(judged):
        parts.append(f"Of {len(said)} claims, {lacking} wait for runs that are not yet recorded.")
    return "\n\n".join([*parts, best_epoch.sentence(runs, profile)])


def verdicts(runs: Runs, profile: str) -> list[Claim]:
    """Whether errors are the paper's, its split matters, depth helps residual nets, and costs plain ones their fit."""
    configs = paper_runs.configs()
    runs = {label: runs.get(label, []) for label in configs}
    judged = [
        *(same_error(label, runs, profile) for label in [*paper_runs.table_6(), paper_runs.READING]),
        better("ResNet-20", paper_runs.READING, runs, profile),
        better("ResNet-56", "ResNet-20", runs, profile),
        better("ResNet-110", "ResNet-56", runs, profile),
        fits_better("plain-20", "plain-56", runs, profile),
        fits_better("ResNet-56", "ResNet-20", runs, profile),
    ]
    return [
        or_diverged(claim, *((configs[label], runs[label]) for label in claim.about), profile=profile)
        for claim in judged
    ]


def same_error(label: str, runs: Runs, profile: str) -> Claim:
    """Judged over seeds alone: the paper's errors are of the same test images. A best of several is none of these."""
    published = TABLE_6[paper_runs.configs()[label].model]
    theirs = published.mean or published.error
    of_runs = "mean of five runs, " if published.mean else ""
    text = f"“{label}” has the paper's error, {of_runs}{theirs:.2f} %, within {100 * CLOSE:g} points"
    if claim := unjudged(text, profile, runs[label], about=(label,)):
        return claim
    errors = [1 - record.accuracy for record in runs[label]]
    if len(errors) < MIN_SEEDS:
        shown = f"{100 * np.mean(errors):.2f} %, n = {len(errors)}, seed spread unknown"
        return Claim(text, UNDECIDED, shown, about=(label,))
    found = over_seeds(errors)
    low, high = 100 * found.low, 100 * found.high
    shown = f"{100 * found.mean:.2f} %, over seeds [{low:.2f}, {high:.2f}], n = {found.seeds}"
    return Claim(text, between(found, theirs / 100 - CLOSE, theirs / 100 + CLOSE), shown, about=(label,))


def fits_better(a: str, b: str, runs: Runs, profile: str) -> Claim:
    """Whether `a` ends with less training error than `b`: every run of it than every run of `b`, if they are ENOUGH."""
    text, sides = f"“{a}” ends with less training error than “{b}”", (runs[a], runs[b])
    if claim := unjudged(text, profile, *sides, about=(a, b)):
        return claim
    ours, theirs = ([training_error([record]) for record in records] for records in sides)
    verdict: Verdict = UNDECIDED
    if math.comb(len(ours) + len(theirs), len(ours)) >= ENOUGH:
        if max(ours) < min(theirs):
            verdict = "holds"
        elif max(theirs) < min(ours):
            verdict = "does not hold"
    shown = [f"{100 * training_error(records):.2f} %, n = {len(records)}" for records in sides]
    return Claim(text, verdict, " against ".join(shown), about=(a, b))
