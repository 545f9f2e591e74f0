"""Effects and shares of accuracies that are known in every cell."""

from itertools import combinations, permutations, product
from math import prod

import numpy as np
import pytest

from resnet_lib.questions.factorial import cells_between, effect, half_fraction, shapley

CELLS = half_fraction(5)
EVERY = list(product((-1, 1), repeat=5))
TERMS = [(), *((f,) for f in range(5)), *combinations(range(5), 2)]  # no three factors interact
COEFFICIENTS = dict(zip(TERMS, np.random.default_rng(0).normal(size=len(TERMS)), strict=True))
TRUTH = {cell: sum(c * prod(cell[f] for f in term) for term, c in COEFFICIENTS.items()) for cell in EVERY}


def weighed(weights, accuracies):
    return sum(weight * accuracies[cell] for cell, weight in weights.items())


def test_half_the_cells_each_level_of_each_pair_equally_often():
    assert len(set(CELLS)) == 16
    assert CELLS[-1] == (1, 1, 1, 1, 1)
    table = np.array(CELLS)
    np.testing.assert_array_equal(table.T @ table, 16 * np.eye(5))


def test_main_effects_and_pairs_are_not_mixed_up():
    design = np.array([[prod(cell[f] for f in term) for term in TERMS] for cell in CELLS])
    np.testing.assert_array_equal(design.T @ design, 16 * np.eye(16))


def test_an_effect_is_the_mean_change_over_all_cells():
    for factor in range(5):
        change = [
            TRUTH[(*rest[:factor], 1, *rest[factor:])] - TRUTH[(*rest[:factor], -1, *rest[factor:])]
            for rest in product((-1, 1), repeat=4)
        ]
        assert weighed(effect((factor,), CELLS), TRUTH) == pytest.approx(np.mean(change))
    assert weighed(effect((1, 3), CELLS), TRUTH) == pytest.approx(4 * COEFFICIENTS[1, 3])


def test_between_two_cells_lies_every_mixture_of_them():
    assert cells_between((1, -1, -1), (1, 1, 1)) == [(1, -1, -1), (1, -1, 1), (1, 1, -1), (1, 1, 1)]


@pytest.mark.parametrize("start", [(-1, -1, -1, -1, -1), (1, -1, -1, -1, 1), (1, 1, -1, 1, 1)], ids=str)
def test_shares_are_the_gains_averaged_over_all_orders_and_add_up_whatever_interacts(start):
    end = (1, 1, 1, 1, 1)
    accuracies = dict(zip(EVERY, np.random.default_rng(1).normal(size=len(EVERY)), strict=True))
    changed = [f for f in range(5) if start[f] != end[f]]
    gains = {f: [] for f in changed}
    for order in permutations(changed):
        now = list(start)
        for f in order:
            before = accuracies[tuple(now)]
            now[f] = end[f]
            gains[f].append(accuracies[tuple(now)] - before)
    shares = {f: weighed(weights, accuracies) for f, weights in shapley(start, end).items()}
    assert shares == pytest.approx({f: np.mean(values) for f, values in gains.items()})
    assert sum(shares.values()) == pytest.approx(accuracies[end] - accuracies[start])
