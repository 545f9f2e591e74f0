"""Accuracy with an interval, and differences paired by image.

What varies is the run (its seed) and the test images, and every run sees the same images: seeds and images are
crossed. Both are resampled (bootstrap), the images together for all runs. Images on which the runs agree in the same
way are interchangeable, so one multinomial draw over the distinct patterns stands for drawing thousands of images.

Intervals over seeds and images are conservative: what seed and image do only together is counted in both (Owen 2007,
"The pigeonhole bootstrap"). Of simulated networks that agree (three seeds, 10,000 images, 88 % accuracy, seed sd 0 to
0.8 points), 95 % intervals covered the accuracy in 97 to 99 % of 200 trials, and the difference in 98 to 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from resnet_lib.findings.estimate import Estimate

REPLICATES = 2_000
MIN_SEEDS = 3  # below, the spread over seeds cannot be estimated from these runs
TAIL = 0.025  # of an interval, to either side
ROUNDING = 1e-9  # of a sum of accuracies
MANY = 2_000  # degrees of freedom from which Student's t is a normal variable, to a thousandth
POWER = 0.8  # how often a sample that is large enough finds a difference


def accuracy_interval(correct: Sequence[np.ndarray]) -> Estimate:
    """Accuracy of a network, from one bool array [N] per seed: which of the N images it got right.

    95 % bootstrap interval over seeds and images with MIN_SEEDS seeds or more, else over images alone. Where every
    run is right (or wrong) on every image, the interval has no width: the bootstrap cannot see what never occurred.
    """
    return _bootstrap([(1.0, _stack(correct))]).as_accuracy()


def paired_difference(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> Estimate:
    """Accuracy of `a` less that of `b`, paired by image; one bool array [N] per seed, seeds need not match.

    `seeds` is that of the side with fewer. Raises ValueError if the two were not evaluated on as many images.
    """
    first, second = _stack(a), _stack(b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} images cannot be paired with {second.shape[1]}")
    return _bootstrap([(1.0, first), (-1.0, second)])


def images_needed(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """So many that a difference as large as this one is found with POWER, if their spread alone mattered.

    Infinite where there is no difference. Bool arrays [N], one per seed, as for `paired_difference`.
    """
    scores = _stack(a).mean(axis=0) - _stack(b).mean(axis=0)
    if abs(scores.mean()) < ROUNDING:
        return float("inf")
    return float(((_normal(TAIL) + _normal(1 - POWER)) / scores.mean()) ** 2 * scores.var())


def seeds_needed(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """The same of seeds per network, of MIN_SEEDS arrays or more; from 20 seeds on to the next twentieth."""
    first, second = (_stack(one).mean(axis=1) for one in (a, b))
    difference = first.mean() - second.mean()
    if abs(difference) < ROUNDING:
        return float("inf")
    variance = (first.var(ddof=1) + second.var(ddof=1)) / difference**2
    seeds = max(MIN_SEEDS, int((_normal(TAIL) + _normal(1 - POWER)) ** 2 * variance))
    while seeds < (_student(2 * seeds - 2, TAIL) + _student(2 * seeds - 2, 1 - POWER)) ** 2 * variance:
        seeds += max(1, seeds // 20)
    return seeds


@dataclass(frozen=True, eq=False)
class Spread:
    """How much runs differ that differ in their seed alone; equal to no other estimate, even one of the same size."""

    sd: float  # of their accuracies, 0 to 1
    freedom: int  # degrees of freedom that it was estimated with


def spread(*configs: Sequence[np.ndarray]) -> Spread | None:
    """Over the seeds of configs that are taken to spread alike, each with one bool array [N] per seed.

    Configs with fewer than MIN_SEEDS are left out; None where none is left.
    """
    accuracies = [_stack(correct).mean(axis=1) for correct in configs if len(correct) >= MIN_SEEDS]
    freedom = sum(len(one) - 1 for one in accuracies)
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in accuracies)
    return Spread((squares / freedom) ** 0.5, freedom) if accuracies else None


def weighted_sum(cells: Sequence[tuple[float, Sequence[np.ndarray], Spread | None]], comparisons: int = 1) -> Estimate:
    """The sum of weight times accuracy over cells of a design, paired by image.

    A cell is its weight, one bool array [N] per seed, and how much seeds differ there. The interval is normal in the
    images and Student's in the seeds, or over images alone where the spread of any cell is unknown. It is as wide as it
    must be for all of so many `comparisons` to hold together with 95 % (Bonferroni). `seeds` is that of the cell with
    fewest. Raises ValueError if the cells were not evaluated on as many images.
    """
    groups = [(weight, _stack(correct), known) for weight, correct, known in cells]
    if len({group.shape[1] for _, group, _ in groups}) != 1:
        raise ValueError("cells that were not evaluated on as many images cannot be added")
    tail = TAIL / comparisons
    scores = sum(weight * group.mean(axis=0) for weight, group, _ in groups)
    variance = _normal(tail) ** 2 * scores.var() / len(scores)
    seed_sd = None
    if all(known for *_, known in groups):
        parts = {known: 0.0 for *_, known in groups}  # cells of one spread err together
        for weight, group, known in groups:
            parts[known] += weight**2 * known.sd**2 / len(group)
        freedom = _freedom([(part, known.freedom) for known, part in parts.items()])
        variance += sum(parts.values()) * _student(freedom, tail) ** 2
        seed_sd = sum(weight**2 * known.sd**2 for weight, _, known in groups) ** 0.5
    mean, half = float(scores.mean()), float(variance**0.5)
    seeds = min(len(group) for _, group, _ in groups)
    return Estimate(mean, mean - half, mean + half, seeds, seed_sd, "points", pooled=seed_sd is not None)


def over_seeds(values: Sequence[float], unit: str = "%") -> Estimate:
    """The mean of what runs of different seeds measured, once each; with MIN_SEEDS or more Student's interval.

    Over seeds alone: that the images are a sample, too, is left out.
    """
    mean, sd, half = float(np.mean(values)), None, 0.0
    if len(values) >= MIN_SEEDS:
        sd = float(np.std(values, ddof=1))
        half = _student(len(values) - 1, TAIL) * sd / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half, len(values), sd, unit)


def _stack(correct: Sequence[np.ndarray]) -> np.ndarray:
    """float [seeds, N]. Raises ValueError if empty or of unequal lengths."""
    if not correct or not len(correct[0]):
        raise ValueError("at least one seed and one image are needed")
    return np.stack([np.asarray(one, bool) for one in correct]).astype(float)


def _bootstrap(groups: list[tuple[float, np.ndarray]]) -> Estimate:
    """The weighted sum of the groups' accuracies; a group is its weight and a float [seeds, N] of zeros and ones."""
    rng = np.random.default_rng(0)
    images = groups[0][1].shape[1]
    seeds = min(len(group) for _, group in groups)
    mean = float(sum(weight * group.mean() for weight, group in groups))
    with_seeds = seeds >= MIN_SEEDS
    if not with_seeds:  # one score per image says all
        groups = [(1.0, sum(weight * group.mean(axis=0, keepdims=True) for weight, group in groups))]
    patterns, counts = _patterns(np.concatenate([group for _, group in groups]))
    shares = rng.multinomial(images, counts / images, REPLICATES) / images - counts / images  # about their mean, 0
    by_run = shares @ patterns.T  # [replicates, runs]: change of each run's accuracy with the images
    variances = [weight**2 * group.mean(axis=1).var(ddof=1) if with_seeds else 0.0 for weight, group in groups]
    freedom = _freedom([(v / len(group), len(group) - 1) for v, (_, group) in zip(variances, groups, strict=True)])
    draws, first = np.full(REPLICATES, mean), 0
    for weight, group in groups:
        runs, change = len(group), by_run[:, first : first + len(group)]
        mixes = np.ones((1, 1))
        if with_seeds:
            mixes = rng.multinomial(runs, np.full(runs, 1 / runs), REPLICATES) / runs
            accuracies = group.mean(axis=1)
            draws += weight * _widening(runs, freedom) * (mixes @ (accuracies - accuracies.mean()))
        draws += weight * (mixes * change).sum(axis=1)
        first += runs
    low, high = np.quantile(draws, [TAIL, 1 - TAIL])
    return Estimate(
        mean, float(low), float(high), seeds, float(sum(variances) ** 0.5) if with_seeds else None, "points"
    )


def _patterns(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct columns [runs, patterns] of `scores` [runs, N] and how often each occurs."""
    keys = np.ascontiguousarray(scores.T).view(np.dtype((np.void, scores.itemsize * len(scores)))).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return scores[:, first], counts


def _freedom(parts: list[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of independent variances, each with its own (Welch 1947, Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return float(sum(freedom for _, freedom in parts))
    return total**2 / sum(variance**2 / freedom for variance, freedom in parts if freedom)


def _widening(seeds: int, freedom: float) -> float:
    """What the deviations of a bootstrap over few seeds must be multiplied with to reach Student's interval.

    Resampling k values gives (k - 1) / k of the variance, and normal tails instead of Student's: uncorrected, three
    seeds would cover about 3/4 instead of 95 %.
    """
    return (seeds / (seeds - 1)) ** 0.5 * _student(freedom, TAIL) / _normal(TAIL)


def _normal(tail: float) -> float:
    """The value that a standard normal variable exceeds with probability `tail`."""
    return NormalDist().inv_cdf(1 - tail)


@cache  # for it is asked hundreds of times, of few values
def _student(freedom: float, tail: float) -> float:
    """The same of Student's t. With t = sqrt(freedom) tan(angle), its density is a power of the angle's cosine."""
    if freedom > MANY:
        return _normal(tail)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 200_001)
    share = np.cumsum(np.cos(angle).clip(0) ** (freedom - 1))
    return float(freedom**0.5 * np.tan(np.interp(1 - tail, share / share[-1], angle)))
