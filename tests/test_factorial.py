from itertools import permutations, product

import numpy as np
import pytest

from resnet_lib.factorial import effect, half_fraction, prediction, shapley, terms

CELLS = half_fraction(5)
EVERY = list(product((-1, 1), repeat=5))
COEFFICIENTS = np.random.default_rng(0).normal(size=16)
TRUTH = {cell: float(terms(cell) @ COEFFICIENTS) for cell in EVERY}
MEASURED = np.array([TRUTH[cell] for cell in CELLS])


def test_half_the_cells_each_level_of_each_pair_equally_often():
    assert len(set(CELLS)) == 16
    assert CELLS[-1] == (1, 1, 1, 1, 1)
    table = np.array(CELLS)
    np.testing.assert_array_equal(table.T @ table, 16 * np.eye(5))


def test_main_effects_and_pairs_are_not_mixed_up():
    design = np.stack([terms(cell) for cell in CELLS])
    np.testing.assert_allclose(design.T @ design, 16 * np.eye(16), atol=1e-12)


@pytest.mark.parametrize("levels", EVERY)
def test_cells_never_run_are_predicted_where_no_three_factors_interact(levels):
    assert prediction(levels, CELLS) @ MEASURED == pytest.approx(TRUTH[levels])


def test_an_effect_is_the_mean_change_over_all_cells():
    for factor in range(5):
        change = [
            TRUTH[(*rest[:factor], 1, *rest[factor:])] - TRUTH[(*rest[:factor], -1, *rest[factor:])]
            for rest in product((-1, 1), repeat=4)
        ]
        assert effect((factor,), CELLS) @ MEASURED == pytest.approx(np.mean(change))
    assert effect((1, 3), CELLS) @ MEASURED == pytest.approx(2 * COEFFICIENTS[6 + 5])  # pairs: 01 02 03 04 12 13


@pytest.mark.parametrize("start", [(-1, -1, -1, -1, -1), (1, -1, -1, -1, 1), (1, 1, -1, 1, 1)], ids=str)
def test_shares_are_the_gains_averaged_over_all_orders_and_add_up(start):
    end = (1, 1, 1, 1, 1)
    changed = [f for f in range(5) if start[f] != end[f]]
    gains = {f: [] for f in changed}
    for order in permutations(changed):
        now = list(start)
        for f in order:
            before = TRUTH[tuple(now)]
            now[f] = end[f]
            gains[f].append(TRUTH[tuple(now)] - before)
    shares = {f: weights @ MEASURED for f, weights in shapley(start, end, CELLS).items()}
    assert shares == pytest.approx({f: np.mean(values) for f, values in gains.items()})
    assert sum(shares.values()) == pytest.approx(TRUTH[end] - TRUTH[start])
