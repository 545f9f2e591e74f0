"""Two-level factorial designs: which cells to run, and what each factor is worth, as weights of the cells' accuracies.

Levels are -1 and +1. A half fraction with the defining relation I = 12...k has resolution V at k = 5: main effects and
two-factor interactions are free of each other, and of all but interactions of three factors and more (Box, Hunter &
Hunter 2005, chapter 6). Everything here is linear in the accuracies, so that an interval is that of a weighted sum.
"""

from __future__ import annotations

from itertools import combinations, product
from math import factorial, prod

Levels = tuple[int, ...]


def turned(cell: Levels, *factors: int) -> Levels:
    """The cell with these factors at their other level."""
    return tuple(-level if f in factors else level for f, level in enumerate(cell))


def half_fraction(factors: int) -> list[Levels]:
    """The 2^(factors - 1) cells whose levels multiply to +1; the cell of all +1 is the last."""
    return [cell for cell in product((-1, 1), repeat=factors) if prod(cell) == 1]


def effect(factors: tuple[int, ...], cells: list[Levels]) -> dict[Levels, float]:
    """Weights of the cells in the mean change between a factor's two levels, or, of two factors, in what this changes.

    The latter is what both changes together bring beyond the sum of what each brings alone.
    """
    return {cell: 2 ** len(factors) * prod(cell[f] for f in factors) / len(cells) for cell in cells}


def cells_between(start: Levels, end: Levels) -> list[Levels]:
    """Every cell whose factors are each as in `start` or as in `end`."""
    return sorted(set(product(*zip(start, end, strict=True))))


def shapley(start: Levels, end: Levels) -> dict[int, dict[Levels, float]]:
    """Each factor's share of the change from `start` to `end`, for those that differ: weights of the cells between.

    A factor's share is its gain averaged over all orders in which the factors could be changed (Shapley 1953). The
    shares add up to the whole change, whatever the interactions.
    """
    changed = [f for f in range(len(start)) if start[f] != end[f]]
    shares = {f: dict.fromkeys(cells_between(start, end), 0.0) for f in changed}
    for factor, size in product(changed, range(len(changed))):
        orders = factorial(size) * factorial(len(changed) - size - 1) / factorial(len(changed))
        for others in combinations([f for f in changed if f != factor], size):
            without = tuple(end[f] if f in others else start[f] for f in range(len(start)))
            with_it = tuple(end[f] if f == factor else level for f, level in enumerate(without))
            shares[factor][with_it] += orders
            shares[factor][without] -= orders
    return shares
