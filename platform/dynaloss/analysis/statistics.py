"""Statistics over the seeds of a trial: few values, so every function says what it can bear."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Interval",
    "PairedDifference",
    "bootstrap_interval",
    "mean",
    "paired_difference",
    "std",
    "t_interval",
]

Interval = tuple[float, float]
_NUM_RESAMPLES = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Mean over the shared seeds of (arm minus baseline).

    Attributes:
        n: Number of seeds that both have.
        mean: Mean difference, in the unit of the metric.
        ci95: Bootstrap interval of the mean difference; None with fewer than two seeds.
    """

    n: int
    mean: float
    ci95: Interval | None


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, correctly rounded, so the order of the seeds does not matter."""
    return math.fsum(values) / len(values) if values else math.nan


def std(values: Sequence[float]) -> float:
    """Sample standard deviation with n - 1 in the denominator; NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval | None:
    """Student's interval for the mean: mean ± t(n - 1) * std / sqrt(n).

    Exact for normally distributed values at any n (Student, Biometrika 6(1), 1908), and wide
    where there is little to go by: t is 12.7 at n = 2 and 4.3 at n = 3.

    Args:
        values: One value per seed.
        confidence: Coverage, in (0, 1).

    Returns:
        (low, high), or None for fewer than two values.
    """
    if len(values) < 2:
        return None
    from scipy import stats  # takes half a second to import, and only intervals need it

    factor = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    half = factor * std(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def bootstrap_interval(
    values: Sequence[float],
    *,
    confidence: float = 0.95,
    rng: np.random.Generator | None = None,
) -> Interval | None:
    """Percentile bootstrap interval for the mean (Efron, Annals of Statistics 7(1), 1979).

    Narrower than it claims when n is small. Simulated coverage of the 95 % interval for normal
    values: n = 2: 52 %, 3: 75 %, 5: 83 %, 10: 90 %, 20: 92 %. At n = 2 and 3 it is the range of
    the values. The bias-corrected variant (BCa) is not used: with few values, resamples that tie
    with the mean up to rounding decide its correction.

    Args:
        values: One value per seed.
        confidence: Nominal coverage, in (0, 1).
        rng: Source of the resamples; by default a fixed seed, so equal values give equal bytes.

    Returns:
        (low, high); both ends equal when all values are; None for fewer than two values.
    """
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return values[0], values[0]
    rng = np.random.default_rng(0) if rng is None else rng
    picks = rng.integers(len(values), size=(_NUM_RESAMPLES, len(values)))
    means = np.asarray(values, dtype=np.float64)[picks].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> PairedDifference | None:
    """Difference of an arm to the baseline, seed by seed.

    Equal seeds share split, tail, noise and initial weights, so pairing removes their spread.

    Args:
        values: Value per seed of the arm.
        baseline: Value per seed of the baseline in the same condition.

    Returns:
        The difference over the seeds that both have; None when they share no seed.
    """
    differences = [values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline)]
    if not differences:
        return None
    return PairedDifference(
        n=len(differences), mean=mean(differences), ci95=bootstrap_interval(differences)
    )
