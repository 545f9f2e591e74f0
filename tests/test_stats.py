"""Intervals against what is known: formulas, Student's table, and coverage on simulated runs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from resnet_lib.config import Config
from resnet_lib.findings.comparison import compare
from resnet_lib.findings.estimate import Estimate
from resnet_lib.findings.stats import (
    Spread,
    _student,
    accuracy_interval,
    images_needed,
    over_seeds,
    paired_difference,
    seeds_needed,
    spread,
    weighted_sum,
)
from resnet_lib.records.record import Record


def simulate(rng, seeds, images, seed_sd, mean=0.8):
    """Runs on common images: an image has its difficulty, a run its luck; all true accuracies average to `mean`."""
    difficulty = rng.beta(mean * 2, (1 - mean) * 2, images)
    luck = rng.normal(0, seed_sd, (seeds, 1))
    return list(rng.random((seeds, images)) < difficulty + luck)


def test_one_seed_agrees_with_the_binomial_standard_error():
    correct = np.arange(10_000) < 5_030
    estimate = accuracy_interval([correct])
    half = 1.96 * np.sqrt(0.503 * 0.497 / 10_000)
    assert estimate.mean == 0.503
    assert estimate.low == pytest.approx(0.503 - half, abs=6e-4)
    assert estimate.high == pytest.approx(0.503 + half, abs=6e-4)
    assert estimate.seed_sd is None
    assert str(estimate).startswith("50.3 % [49.")
    assert str(estimate).endswith("n = 1, seed spread unknown")


def test_prints_seed_spread_and_signs():
    assert str(Estimate(0.5, 0.49, 0.51, 5, 0.0042)) == "50.0 % [49.0, 51.0], n = 5, seed sd 0.42"
    assert str(Estimate(0.02, -0.001, 0.04, 1, None, "points")).startswith("+2.0 points [-0.1, +4.0]")
    assert Estimate(0.0, -0.0001, 0.0001, 1, None, "points").interval == "[0.0, 0.0] (over images alone)"
    assert Estimate(0.02, 0.01, 0.03, 3, 0.001, "points", pooled=True).number == "+2.0 points [+1.0, +3.0]"
    assert str(Estimate(0.5, 0.49, 0.51, 3, 0.0042, pooled=True)).endswith("n = 3, pooled seed sd 0.42")


@pytest.mark.parametrize(("freedom", "known"), [(2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)])
def test_student_quantile(freedom, known):
    assert _student(freedom, 0.025) == pytest.approx(known, rel=1e-3)


def test_student_quantile_far_out():
    assert _student(2, 0.001) == pytest.approx(22.327, rel=1e-3)
    assert _student(9, 0.001) == pytest.approx(4.2968, rel=1e-3)


def test_the_mean_of_what_runs_measured_has_students_interval():
    found = over_seeds([1, 2, 3])
    half = 4.3027 / np.sqrt(3)  # of two degrees of freedom; the values' standard deviation is 1
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-3)
    assert (found.mean, found.seeds, found.seed_sd) == (2, 3, 1)
    assert over_seeds([1, 2]).seed_sd is None  # too few to tell how much they differ


def test_a_sample_of_the_size_needed_finds_the_difference_four_times_out_of_five():
    rng = np.random.default_rng(0)
    a, b = rng.random(100_000) < 0.70, rng.random(100_000) < 0.60
    images = images_needed([a], [b])
    found = 0
    for _ in range(2_000):
        drawn = rng.integers(0, len(a), round(images))
        scores = a[drawn].astype(float) - b[drawn]
        found += abs(scores.mean()) > 1.96 * scores.std(ddof=1) / len(scores) ** 0.5
    assert found / 2_000 == pytest.approx(0.8, abs=0.03)


def test_seeds_needed_follow_from_their_spread_and_nothing_tells_equals_apart():
    images = np.arange(1_000)
    runs = {share: images < share * 1_000 for share in (0.79, 0.80, 0.81, 0.69, 0.70, 0.71)}
    better, worse = ([runs[share] for share in shares] for shares in ((0.79, 0.80, 0.81), (0.69, 0.70, 0.71)))
    assert seeds_needed(better, worse) == 3  # there is no spread to be had from fewer
    assert images_needed(better, better) == seeds_needed(better, better) == float("inf")


@pytest.mark.parametrize("difference", [0.02, 0.006])
def test_as_many_seeds_as_needed_find_the_difference_four_times_out_of_five(difference):
    """Welch's test of accuracies alone, with the spread that the three seeds at hand have."""
    images = np.arange(10_000)
    a, b = ([images < 10_000 * (mean + luck) for luck in (-0.01, 0, 0.01)] for mean in (0.7 + difference, 0.7))
    seeds = seeds_needed(a, b)
    rng, trials = np.random.default_rng(0), 3_000
    first, second = (rng.normal(mean, 0.01, (trials, seeds)) for mean in (difference, 0))
    error = ((first.var(axis=1, ddof=1) + second.var(axis=1, ddof=1)) / seeds) ** 0.5
    found = abs(first.mean(axis=1) - second.mean(axis=1)) / error > _student(2 * seeds - 2, 0.025)
    assert 0.78 <= found.mean() <= 0.9


def test_nearly_equal_networks_need_very_many_seeds():
    images = np.arange(10_000)
    a, b = ([images < 10_000 * (mean + luck) for luck in (-0.01, 0, 0.01)] for mean in (0.80005, 0.80015))
    seeds = seeds_needed(a, b)
    assert seeds == pytest.approx((1.96 + 0.8416) ** 2 * (2 * 0.01**2) / 0.0001**2, rel=0.06)


def test_the_seeds_of_each_kind_widen_a_sum_by_their_own_spread():
    """Cells of two kinds that spread by very different amounts, each known from three seeds elsewhere."""
    rng, trials, missed = np.random.default_rng(0), 400, 0
    for _ in range(trials):
        sds = {"calm": 0.002, "restless": 0.03}
        known = {kind: spread([images_right(0.8 + luck) for luck in rng.normal(0, sd, 3)]) for kind, sd in sds.items()}
        cells = [
            (weight, [images_right(0.8 + rng.normal(0, sds[kind]))], known[kind])
            for weight, kind in ((0.5, "calm"), (0.5, "restless"), (-0.5, "calm"), (-0.5, "restless"))
        ]
        found = weighted_sum(cells)
        missed += not found.low <= 0 <= found.high
    assert missed / trials <= 0.065
    alone = weighted_sum([(weight, correct, None) for weight, correct, _ in cells])
    assert alone.seed_sd is None
    assert alone.high - alone.low < found.high - found.low


def test_a_sum_is_as_wide_as_its_images_and_seeds_make_it():
    """Against the formula, with Student's 2.776 at 4 degrees of freedom."""
    known = Spread(0.02, 4)
    three, one = [images_right(0.7 + luck) for luck in (-0.01, 0, 0.01)], [images_right(0.9)]
    found = weighted_sum([(0.5, three, known), (-0.5, one, known)])
    scores = 0.5 * np.mean(three, axis=0) - 0.5 * one[0]
    seeds = 0.02**2 * (0.25 / 3 + 0.25 / 1)
    half = (1.96**2 * scores.var() / 2_000 + 2.776**2 * seeds) ** 0.5
    assert found.mean == pytest.approx(-0.1)
    assert (found.low, found.high) == (pytest.approx(-0.1 - half, abs=1e-5), pytest.approx(-0.1 + half, abs=1e-5))
    assert found.seed_sd == pytest.approx(0.02 * 0.5**0.5)


def images_right(share):
    return np.arange(2_000) < 2_000 * share


def test_the_spread_of_configs_that_spread_alike_is_pooled():
    lucks = (-0.01, 0, 0.01), (-0.02, -0.01, 0, 0.01, 0.02)
    three, five = ([images_right(0.8 + luck) for luck in some] for some in lucks)
    assert vars(spread(three)) == {"sd": pytest.approx(0.01), "freedom": 2}
    pooled = {"sd": pytest.approx(((2e-4 + 10e-4) / 6) ** 0.5, rel=0.02), "freedom": 6}
    assert vars(spread(three, five, [images_right(0.1)])) == pooled
    assert spread(three[:2], []) is None


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.02), (3, 0.1), (5, 0.02), (5, 0.0)])
def test_interval_covers_the_true_accuracy(seeds, seed_sd):
    rng = np.random.default_rng(seeds)
    trials = 100
    estimates = [accuracy_interval(simulate(rng, seeds, 1_000, seed_sd)) for _ in range(trials)]
    covered = sum(e.low <= 0.8 <= e.high for e in estimates) / trials
    assert covered >= 0.91
    width = np.mean([e.high - e.low for e in estimates])
    # the exact width from the known standard errors; few seeds pay for not knowing theirs
    ideal = 2 * 1.96 * np.sqrt(0.8 * 0.2 / 3 / 1_000 + (0.8 * 0.2 * 2 / 3 / 1_000 + seed_sd**2) / seeds)
    assert width < 3 * ideal


def test_ignoring_seeds_would_be_too_narrow():
    """The same runs, with and without resampling seeds: the seeds' part must show."""
    runs = simulate(np.random.default_rng(0), 5, 10_000, 0.03)
    whole, part = accuracy_interval(runs), accuracy_interval(runs[:2])
    assert whole.high - whole.low > 2 * (part.high - part.low)
    assert whole.seed_sd == pytest.approx(np.std([run.mean() for run in runs], ddof=1))


def test_pairing_is_narrower_than_two_separate_intervals():
    rng = np.random.default_rng(1)
    a = rng.random(10_000) < 0.8
    b = np.where(rng.random(10_000) < 0.05, ~a, a)  # disagree on a twentieth
    paired = paired_difference([a], [b])
    assert paired.mean == pytest.approx(a.mean() - b.mean())
    assert paired.high - paired.low == pytest.approx(2 * 1.96 * np.sqrt(0.05 / 10_000), rel=0.1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_difference_covers_the_truth(seeds):
    rng = np.random.default_rng(7)
    trials, covered = 60, 0
    for _ in range(trials):
        difficulty = rng.beta(1.6, 0.4, 500)
        luck = rng.normal(0, 0.02 if seeds > 1 else 0, (2, seeds, 1))
        a, b = (rng.random((2, seeds, 500)) < difficulty + luck).astype(bool)
        estimate = paired_difference(list(a), list(b))
        covered += estimate.low <= 0 <= estimate.high
    assert covered / trials >= 0.91


def test_a_run_does_not_differ_from_itself():
    run = np.random.default_rng(0).random(100) < 0.5
    assert paired_difference([run], [run]) == Estimate(0.0, 0.0, 0.0, 1, None, "points")


def test_same_input_same_interval_and_swapping_changes_the_sign():
    a, b = simulate(np.random.default_rng(2), 4, 300, 0.01), simulate(np.random.default_rng(3), 4, 300, 0.01)
    assert accuracy_interval(a) == accuracy_interval(a)
    assert paired_difference(a, b).mean == pytest.approx(-paired_difference(b, a).mean)


def test_stays_between_0_and_1():
    runs = [np.arange(50) >= wrong for wrong in (0, 1, 4)]
    estimate = accuracy_interval(runs)
    assert 0.7 < estimate.low < 0.9
    assert estimate.high == 1


def test_refuses_what_cannot_be_compared():
    with pytest.raises(ValueError, match="at least one"):
        accuracy_interval([])
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([np.ones(3, bool)], [np.ones(4, bool)])


def test_runs_over_other_images_are_not_compared_though_there_are_as_many():
    one, other = (Record(Path(name), Config(), [{"lr": 0.1}], {}) for name in ("one", "other"))
    for record, labels in ((one, np.array([0, 1, 2])), (other, np.array([0, 1, 3]))):
        record.__dict__["predictions"] = {"predicted": labels, "label": labels}  # read already
    assert compare([one], [one], "full").mean == 0
    with pytest.raises(ValueError, match="one and other were not evaluated on the same images"):
        compare([one], [other], "full")


def test_cells_over_unequal_numbers_of_images_are_not_added():
    with pytest.raises(ValueError, match="cannot be added"):
        weighted_sum([(1.0, [np.ones(3, bool)], None), (1.0, [np.ones(4, bool)], None)])


def test_is_fast():
    runs = simulate(np.random.default_rng(0), 5, 10_000, 0.01)
    began = time.process_time()
    accuracy_interval(runs)
    assert time.process_time() - began < 0.5  # about 0.03 s; a loop over draws of images would take seconds
