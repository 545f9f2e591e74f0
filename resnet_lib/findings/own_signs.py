"""What the curves of somebody's own training show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from resnet_lib.findings.curves import FITTED, GAP, LOSS_TREND, LOW, came_down, loss_rise, overfits, underfits
from resnet_lib.findings.own_log import Log
from resnet_lib.findings.symptoms import FALL, mean_fall

UNKNOWN = "not in the log, or not in every row"


@dataclass(frozen=True)
class Sign:
    """Something that a log may show."""

    name: str
    seen: Literal["yes", "no", "in part", "?"]  # ?: the log does not tell
    evidence: tuple[str, ...]
    advice: str


class Check(IntEnum):
    """The points of the README's checklist, by number."""

    CODE = 1
    RATE = 2
    OVERFITTING = 3
    UNDERFITTING = 4
    ELSE = 5


def signs(log: Log) -> list[Sign]:
    """What the curves show, in the order of the README's checklist, whose first point no curve shows.

    Of a training that diverged, that alone.
    """
    return [_diverged(log)] if log.lost else [_high_rate(log), _overfitting(log), _underfitting(log)]


def _diverged(log: Log) -> Sign:
    seen = f"a loss is nan or infinite in the last {log.lost} epochs that have one"
    advice = "begin at a lower learning rate, or warm it up; the curves after that tell nothing"
    return Sign("it diverged", "yes", (seen,), advice)


def _high_rate(log: Log) -> Sign:
    name, advice = (
        "the learning rate is still high",
        f"see what a few epochs at a tenth of it do (checklist {Check.RATE})",
    )
    fall = mean_fall(log)
    evidence = (
        f"at the end test accuracy falls back by {100 * fall:.1f} points from one epoch to the next, gains counting as "
        f"nothing (a sign: more than {100 * FALL:.1f})"
    )
    if "lr" not in log.history[0]:
        return Sign(name, "yes" if fall > FALL else "?", (evidence, f"the rate is {UNKNOWN}"), advice)
    rates = [row["lr"] for row in log.history]
    came = f"{rates[-1]:g} at the end, {max(rates):g} at its highest (a sign: half or more)"
    return Sign(name, "yes" if not came_down(log) or fall > FALL else "no", (came, evidence), advice)


def _overfitting(log: Log) -> Sign:
    name = "it overfits"
    first = f"the stem (checklist {Check.CODE}), and the rate to begin with (checklist {Check.RATE})"
    advice = f"first {first}; then random crops and flips (checklist {Check.OVERFITTING})"
    names = {"train_accuracy": "training accuracy", "test_loss": "test loss"}
    if unknown := [text for column, text in names.items() if column not in log.history[0]]:
        zero = "" if "test_loss" in log.history[0] else ", or 0 in one"
        return Sign(name, "?", (f"{' and '.join(unknown)}: {UNKNOWN}{zero}",), advice)
    evidence = (
        f"{_at_the_end(log, 'train_accuracy')} (a sign: {100 * FITTED:g} or more), test loss "
        f"{100 * loss_rise([log]):.1f} % above its minimum (a sign: more than {100 * LOSS_TREND:g})"
    )
    is_down = "lr" in log.history[0] and came_down(log)
    if not overfits(log) and not is_down and loss_rise([log]) > LOSS_TREND:
        later = f"judge again once the learning rate has come down (checklist {Check.RATE})"
        return Sign(name, "in part", (evidence,), later)
    return Sign(name, "yes" if overfits(log) else "no", (evidence,), advice)


def _underfitting(log: Log) -> Sign:
    name = "it underfits"
    advice = f"the stem; train longer; raise a small learning rate (checklist {Check.UNDERFITTING})"
    if "train_accuracy" not in log.history[0]:
        return Sign(name, "?", (f"training accuracy: {UNKNOWN}",), advice)
    evidence = (
        f"{_at_the_end(log, 'train_accuracy')}, {_at_the_end(log, 'test_accuracy')} "
        f"(a sign: below {100 * LOW:g}, and within {100 * GAP:g} points)"
    )
    return Sign(name, "yes" if underfits(log) else "no", (evidence,), advice)


def _at_the_end(log: Log, name: str) -> str:
    return f"{name.replace('train_', 'training ').replace('_', ' ')} {100 * log.history[-1][name]:.2f} %"
