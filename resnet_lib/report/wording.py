"""Numbers in words, as all pages have them."""

from __future__ import annotations

from resnet_lib.findings.judgement import mean_accuracy
from resnet_lib.records.record import Record


def percent(records: list[Record]) -> str:
    return f"{100 * mean_accuracy(records):.1f} %"


def first_sentence(caption: str) -> str:
    """What stands in place of a picture whose caption stands below it."""
    return caption.partition(". ")[0].removesuffix(".")


def in_range(values: list[float]) -> str:
    """The lowest and the highest of sorted values, or one where they look alike."""
    low, high = (f"{round(value, 1) or 0.0:.1f}" for value in (values[0], values[-1]))  # never -0.0
    return low if low == high else f"{low} to {high}"


def listed(parts: list[str]) -> str:
    """`a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 36_000 else f"{seconds / 3600:,.0f} hours"
