"""A number with its interval, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, as shares (0 to 1) although printed in % or percentage points."""

    mean: float
    low: float
    high: float
    seeds: int
    seed_sd: float | None  # standard deviation over seeds; None: unknown, and left out of the interval
    unit: str = "%"  # or "points", for a difference
    pooled: bool = False  # whether `seed_sd` was taken from comparable runs

    @property
    def interval(self) -> str:
        """`[85.5, 88.1]`, and whether it leaves seeds out."""
        return f"{self._brackets}{'' if self.seed_sd is not None else ' (over images alone)'}"

    @property
    def sure(self) -> str:
        """The interval, after a space; empty where it leaves seeds out."""
        return "" if self.seed_sd is None else f" {self.interval}"

    @property
    def _brackets(self) -> str:
        return f"[{self._number(self.low)}, {self._number(self.high)}]"

    @property
    def number(self) -> str:
        """The mean and its interval."""
        return f"{self._number(self.mean)} {self.unit} {self.interval}"

    def _number(self, share: float) -> str:
        text = f"{100 * share:.1f}" if self.unit == "%" else f"{100 * share:+.1f}"
        return {"-0.0": "0.0", "+0.0": "0.0"}.get(text, text)

    def __neg__(self) -> Estimate:
        return replace(self, mean=-self.mean, low=-self.high, high=-self.low)

    def as_accuracy(self) -> Estimate:
        """The same of a sum that is no difference, and so lies between 0 and 1."""
        return replace(self, low=max(0.0, self.low), high=min(1.0, self.high), unit="%")

    def __str__(self) -> str:
        return f"{self._number(self.mean)} {self.unit} {self._details}"

    @property
    def without_unit(self) -> str:
        """As in a column that names it."""
        return f"{self._number(self.mean)} {self._details}"

    @property
    def _details(self) -> str:
        known = "pooled seed sd" if self.pooled else "seed sd"
        spread = "seed spread unknown" if self.seed_sd is None else f"{known} {100 * self.seed_sd:.2f}"
        return f"{self._brackets}, n = {self.seeds}, {spread}"
