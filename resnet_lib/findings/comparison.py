"""The accuracy of runs, and what one config has above another, also where seeds are few.

How much seeds differ is then taken from comparable settings; of a change always, so that it has one interval.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from resnet_lib.config import Config
from resnet_lib.findings.curves import came_down
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.judgement import accuracy
from resnet_lib.findings.stats import MIN_SEEDS, Spread, paired_difference, spread, weighted_sum
from resnet_lib.questions import agenda, causes, suspects
from resnet_lib.records.find import find_seeds
from resnet_lib.records.record import Record


def accuracy_of(records: list[Record], profile: str) -> Estimate:
    """That of the runs of a config, by their own seeds where there are enough, else by those of comparable settings."""
    if len(records) >= MIN_SEEDS or not (comparable := _comparable(records, profile)):
        return accuracy(records)
    return weighted_sum([(1.0, [record.correct for record in records], comparable)]).as_accuracy()


def worth(*factors: int) -> Estimate | None:
    """What changing these of the assumed settings does to the accuracy at full size; None if either is not recorded."""
    return change(suspects.changed(*factors), suspects.changed())


def change(changed: Config, base: Config) -> Estimate | None:
    """The accuracy of one config less that of another, at full size; None if either is not recorded."""
    sides = [find_seeds(config, "full") for config in (changed, base)]
    return difference(*sides, "full") if all(sides) else None


def compare(a: list[Record], b: list[Record], profile: str) -> Estimate:
    """Accuracy of `a` less that of `b`: by their own seeds where both have enough, else as `difference`.

    Raises ValueError if they were not evaluated on the same images.
    """
    if min(len(a), len(b)) < MIN_SEEDS:
        return difference(a, b, profile)
    _refuse_other_images(a, b)
    return paired_difference([record.correct for record in a], [record.correct for record in b])


def difference(changed: list[Record], base: list[Record], profile: str, comparisons: int = 1) -> Estimate:
    """The accuracy of the runs of one config less that of another's, one of so many comparisons (see `weighted_sum`).

    Seeds are taken to differ on each side as in comparable settings; if there are none, as on the other side if that is
    of the same network, and the learning rate came down on both or on none. Raises ValueError if they were not
    evaluated on the same images.
    """
    _refuse_other_images(changed, base)
    one, other = _kind(changed), _kind(base)
    if one == other:
        of_changed = of_base = _comparable(changed + base, profile)  # one, which errs for both sides alike
    else:
        of_changed, of_base = _comparable(changed, profile), _comparable(base, profile)
        if (one.model, one.came_down) == (other.model, other.came_down):
            of_changed, of_base = of_changed or of_base, of_base or of_changed
    sides = [(1.0, changed, of_changed), (-1.0, base, of_base)]
    return weighted_sum([(sign, [run.correct for run in runs], differ) for sign, runs, differ in sides], comparisons)


class _Kind(NamedTuple):
    """Settings whose seeds are taken to differ alike, whatever their stem, batch size, precision and the like."""

    model: str
    length: str
    came_down: bool  # the learning rate


def _kind(records: list[Record]) -> _Kind:
    config = records[0].config
    return _Kind(config.model, config.length_label, came_down(records[0]))


def _comparable(records: list[Record], profile: str) -> Spread | None:
    """How much seeds differ in all settings of the kind of these, planned or combinations of factors, and in these."""
    kind, configs = _kind(records), [record.config for record in records]
    planned = (config for part in agenda.parts() for config in part.configs if config.model == kind.model)
    same = [*configs, *(config.at(profile) for config in planned)]
    if causes.levels_of(configs[0]):
        same += [causes.cell(levels, configs[0].epochs) for levels in causes.ALL]
    settings = {config.fingerprint: config for config in same if config.length_label == kind.length}
    found = [runs for one in settings.values() if (runs := find_seeds(one, profile)) and _kind(runs) == kind]
    return spread(*([record.correct for record in runs] for runs in found))


def _refuse_other_images(a: list[Record], b: list[Record]) -> None:
    labels = [record.predictions["label"] for record in a + b]
    if any(not np.array_equal(labels[0], other) for other in labels):
        raise ValueError(f"{a[0].path.name} and {b[0].path.name} were not evaluated on the same images")
