"""Sign-flip tests of paired differences, alone and adjusted for a table of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Adjustment = Literal["maxt", "holm"]
"""How p values are adjusted for a family of tests: by `step_down` maxT or `holm`."""

METHODS = {"maxt": "step-down maxT", "holm": "Holm's method"}
"""The adjustments in words."""

LEVEL = 0.05
"""Level of the tests: the probability of any false positive in a table."""

LARGEST_EXACT = 16
"""Number of seeds up to which the sign-flip tests look at every pattern, 2^16."""

_PART = 4096  # patterns at a time
_TIE = 1e-9  # equal sums in another order differ in their last bits


def sign_flip_p(differences: Sequence[float], exact: int = LARGEST_EXACT) -> float:
    """Two-sided p value of the paired randomisation test on the mean difference.

    Under no effect every difference is as likely with either sign, so the p value is the share of
    the 2^n sign patterns whose mean is at least as far from zero (Fisher, "The Design of
    Experiments", 1935, section 21). Exact up to n = 16, see `step_down`. NaN without a pair.
    """
    if not differences:
        return math.nan
    return float(step_down(np.array(differences)[None, :, None], exact)[0, 0])


def adjusted_p(
    differences: Sequence[Mapping[int, float]], adjust: Adjustment = "maxt"
) -> list[float]:
    """P values of the paired differences of a table by seed, adjusted for all that can be tested.

    A difference of so few seeds that even its smallest p is above the level has NaN and does not
    count: no test could find it. A seed may be missing in some differences. By `step_down`, or by
    `holm` from their p values by `sign_flip_p`. In the order given.
    """
    tested = [i for i, found in enumerate(differences) if can_be_tested(len(found))]
    if adjust == "holm":
        found = holm([sign_flip_p([*differences[i].values()]) for i in tested])
    else:
        seeds = sorted({seed for i in tested for seed in differences[i]})
        values = [[differences[i].get(seed, 0.0) for i in tested] for seed in seeds]
        found = step_down(np.array(values)[None])[0].tolist() if tested else []
    p_values = dict(zip(tested, found, strict=True))
    return [p_values.get(i, math.nan) for i in range(len(differences))]


def step_down(values: NDArray[np.float64], exact: int = LARGEST_EXACT) -> NDArray[np.float64]:
    """P values of mean paired differences, adjusted for those of their table: step-down maxT.

    Westfall and Young, "Resampling-Based Multiple Testing", 1993, algorithm 4.1, with the signs of
    a seed flipped in all differences at once: under no effect at all a seed's differences are
    together as likely with either sign. That keeps their dependence, so the probability of any
    false positive in the family stays at the level without the price of Holm's method, and the
    smallest p of n seeds is 2 / 2^n for any number of differences. Exact up to 16 seeds; beyond,
    2^15 patterns are drawn from a fixed seed and the observed one is counted among them, which
    keeps the test valid (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9(1), 2010).

    The statistic is |sum of d| / sqrt(sum of d^2). Of equal numbers of seeds it puts differences
    in the same order as |t|, but it has a bound: |t| of a few nearly equal differences is all but
    infinite under one pattern in four or eight, which would hide every effect of the other cells.

    Args:
        values: Differences of T tables, shape (T, seeds, K); 0 where one lacks a seed.
        exact: Number of seeds up to which every pattern counts, at least 1; of more, half as many
            patterns are drawn.

    Returns:
        The p values, shape (T, K).
    """
    squares = (values**2).sum(axis=1)
    observed = _statistic(values.sum(axis=1), squares)
    order = np.argsort(-observed, axis=1, kind="stable")
    values = np.take_along_axis(values, order[:, None], axis=2)
    squares, observed = (np.take_along_axis(of, order, axis=1) for of in (squares, observed))
    counts, total = np.zeros(observed.shape), 0
    for signs in _sign_patterns(values.shape[1], exact, max(1, _PART // len(values))):
        found = _statistic(signs @ values, squares[:, None])
        # Each against the largest of those that are no further from zero than it.
        largest = np.maximum.accumulate(found[..., ::-1], axis=2)[..., ::-1]
        counts += (largest >= observed[:, None] * (1 - _TIE)).sum(axis=1)
        total += len(signs)
    adjusted = np.empty_like(counts)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(counts / total, axis=1), axis=1)
    return adjusted


def _statistic(sums: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The square of the statistic, at most n; 0 where all differences are."""
    # Rounded, so that a sum that is 0 but for rounding ties with 0.
    return np.divide(sums**2, squares, out=np.zeros_like(sums), where=squares > 0).round(12)


def _sign_patterns(n: int, exact: int, part: int) -> Iterator[NDArray[np.float64]]:
    """Patterns of n signs in parts; one of each pair of opposites, whose statistics are equal."""
    rng = np.random.default_rng(0)
    count = 2 ** (min(n, exact) - 1)
    if n > exact:
        yield np.ones((1, n))
    for start in range(0, count, part):
        numbers = np.arange(start, min(start + part, count))
        if n > exact:
            yield rng.choice([-1.0, 1.0], size=(len(numbers), n))
            continue
        yield np.where(numbers[:, None] >> np.arange(n) & 1, -1.0, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for a family of tests; NaN means no test and stays NaN.

    Keeps the probability of any false positive in the family below the level, whatever the
    dependence (Holm, Scand. J. Statist. 6(2), 1979). In the order given.
    """
    tested = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for step, (p, index) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - step) * p))
        adjusted[index] = largest
    return adjusted


def sign_flip_floor(n: int) -> float:
    """Smallest two-sided p value of n pairs: 2 / 2^n.

    One of the 2^n sign patterns is the most extreme on either side, in the sign-flip test, in its
    step-down maxT, and in Wilcoxon's signed-rank test.
    """
    return min(1.0, 2.0 ** (1 - n))


def can_be_tested(n: int) -> bool:
    """Whether a test of n pairs can reach the level."""
    return sign_flip_floor(n) <= LEVEL
