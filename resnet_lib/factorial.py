"""Two-level factorial designs: which cells to run, and what each factor is worth, as weights of the cells' accuracies.

Levels are -1 and +1. A half fraction with the defining relation I = 12...k has resolution V at k = 5: main effects and
two-factor interactions are free of each other, and of all but interactions of three factors and more (Box, Hunter &
Hunter 2005, chapter 6). Everything here is linear in the accuracies, so that an interval is that of a weighted sum.
"""

from __future__ import annotations

from itertools import combinations, product
from math import factorial

import numpy as np

Levels = tuple[int, ...]


def half_fraction(factors: int) -> list[Levels]:
    """The 2^(factors - 1) cells whose levels multiply to +1; the cell of all +1 is the last."""
    return [cell for cell in product((-1, 1), repeat=factors) if np.prod(cell) == 1]


def terms(levels: Levels) -> np.ndarray:
    """What the model multiplies its coefficients with in a cell: 1, every level, every product of two."""
    return np.array([1, *levels, *(a * b for a, b in combinations(levels, 2))], float)


def prediction(levels: Levels, cells: list[Levels]) -> np.ndarray:
    """Weights [cells] whose sum with the cells' accuracies is the model's accuracy at `levels`, run or not."""
    design = np.stack([terms(cell) for cell in cells])
    return terms(levels) @ np.linalg.pinv(design)


def effect(factors: tuple[int, ...], cells: list[Levels]) -> np.ndarray:
    """Weights [cells] of a main effect (one factor) or of an interaction: the mean change between its two levels."""
    signs = np.array([np.prod([cell[f] for f in factors]) for cell in cells], float)
    return 2 * signs / len(cells)


def shapley(start: Levels, end: Levels, cells: list[Levels]) -> dict[int, np.ndarray]:
    """Weights [cells] of each factor's share of the change from `start` to `end`, for the factors that differ.

    A factor's share is its gain averaged over all orders in which the factors could be changed (Shapley 1953); the
    shares add up to the whole change.
    """
    changed = [f for f in range(len(start)) if start[f] != end[f]]
    shares = {f: np.zeros(len(cells)) for f in changed}
    for factor, size in product(changed, range(len(changed))):
        orders = factorial(size) * factorial(len(changed) - size - 1) / factorial(len(changed))
        for others in combinations([f for f in changed if f != factor], size):
            without = tuple(end[f] if f in others else start[f] for f in range(len(start)))
            with_it = tuple(end[f] if f == factor else level for f, level in enumerate(without))
            shares[factor] += orders * (prediction(with_it, cells) - prediction(without, cells))
    return shares
