"""Sign-flip tests of paired differences, alone and adjusted for a table of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Adjustment = Literal["maxt", "holm"]
"""How p values are adjusted for a family of tests: `max_t` or `holm`."""

LEVEL = 0.05
"""Level of the tests: the probability of any false positive in a table."""

LARGEST_EXACT = 16
"""Number of seeds up to which the sign-flip tests look at every pattern, 2^16."""

_PART = 4096  # patterns at a time
_TIE = 1e-9  # equal values of t^2 of cells of different size differ in their last bits


def sign_flip_p(differences: Sequence[float], exact: int = LARGEST_EXACT) -> float:
    """Two-sided p value of the paired randomisation test on the mean difference.

    Under no effect every difference is as likely with either sign, so the p value is the share of
    the 2^n sign patterns whose mean is at least as far from zero (Fisher, "The Design of
    Experiments", 1935, section 21). Exact up to n = 16, see `max_t`. NaN without a pair, 1 with
    one.
    """
    if len(differences) < 2:  # both patterns of one pair are as far from zero
        return 1.0 if differences else math.nan
    return max_t([dict(enumerate(differences))], exact)[0]


def max_t(differences: Sequence[Mapping[int, float]], exact: int = LARGEST_EXACT) -> list[float]:
    """P values of mean paired differences by seed, adjusted for all of them: step-down maxT.

    Westfall and Young, "Resampling-Based Multiple Testing", 1993, algorithm 4.1, with the signs of
    a seed flipped in all differences at once: under no effect at all a seed's differences are
    together as likely with either sign. That keeps their dependence, so the probability of any
    false positive in the family stays at the level without the price of Holm's method, and the
    smallest p of n seeds is 2 / 2^n for any number of differences. The statistic is |t|. Exact up
    to 16 seeds; beyond, 2^15 patterns are drawn from a fixed seed and the observed one is counted
    among them, which keeps the test valid (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9(1),
    2010).

    Args:
        differences: Difference by seed of each cell of a table; a seed may be missing in some.
        exact: Number of seeds up to which every pattern counts, at least 1; of more, half as many
            patterns are drawn.

    Returns:
        A p value each, in the order given; NaN for fewer than two pairs.
    """
    adjusted = np.full(len(differences), math.nan)
    tested = np.array([i for i, found in enumerate(differences) if len(found) > 1], dtype=int)
    if not len(tested):
        return adjusted.tolist()
    seeds = sorted({seed for i in tested for seed in differences[i]})
    values = np.array([[differences[i].get(seed, 0.0) for i in tested] for seed in seeds])
    sizes = np.array([len(differences[i]) for i in tested])
    observed = _squared_t(np.ones((1, len(seeds))), values, sizes)[0]
    order = np.argsort(-observed, kind="stable")
    values, sizes, observed = values[:, order], sizes[order], observed[order]
    counts, total = np.zeros(len(tested)), 0
    for signs in _sign_patterns(len(seeds), exact):
        found = _squared_t(signs, values, sizes)
        # Each against the largest of those that are no further from zero than it.
        largest = np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
        counts += (largest >= observed * (1 - _TIE)).sum(axis=0)
        total += len(signs)
    adjusted[tested[order]] = np.maximum.accumulate(counts / total)
    return adjusted.tolist()


def _squared_t(
    signs: NDArray[np.float64], values: NDArray[np.float64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """t^2 of each column of `values` (seeds, K) under each pattern (B, seeds); shape (B, K)."""
    squares = (values**2).sum(axis=0) / sizes
    means = signs @ values / sizes
    # Rounded, as equal sums in another order differ in their last bits: such are ties.
    share = np.divide(means**2, squares, out=np.zeros_like(means), where=squares > 0).round(12)
    with np.errstate(divide="ignore"):  # without a spread t is infinite
        t: NDArray[np.float64] = (sizes - 1) * share / (1 - share)
    return t


def _sign_patterns(n: int, exact: int) -> Iterator[NDArray[np.float64]]:
    """Patterns of n signs in parts; one of each pair of opposites, whose |t| are equal."""
    rng = np.random.default_rng(0)
    count = 2 ** (min(n, exact) - 1)
    if n > exact:
        yield np.ones((1, n))
    for start in range(0, count, _PART):
        numbers = np.arange(start, min(start + _PART, count))
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
