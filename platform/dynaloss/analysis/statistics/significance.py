"""Sign-flip test of paired differences, and Holm's correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LARGEST_EXACT = 14
"""Number of pairs up to which the sign-flip test looks at every pattern."""


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p value of the paired randomisation test on the mean difference.

    Under no effect every difference is as likely with either sign, so the p value is the share of
    the 2^n sign patterns whose mean is at least as far from zero (Fisher, "The Design of
    Experiments", 1935, section 21). Exact up to n = 14; beyond, as many patterns are drawn from a
    fixed seed and the observed one is counted among them, which keeps the test valid (Phipson
    and Smyth, Stat. Appl. Genet. Mol. Biol. 9(1), 2010). NaN without a pair, 1 with one.
    """
    if len(differences) < 2:  # both patterns of one pair are as far from zero
        return 1.0 if differences else math.nan
    from scipy.stats import permutation_test  # takes a second to import

    values = np.asarray(differences, dtype=np.float64)
    largest = float(np.abs(values).max()) or 1.0
    test = permutation_test(
        (values / largest,),
        # Rounded, as equal sums in another order differ in their last bits: such are ties.
        lambda signed, axis: np.mean(signed, axis=axis).round(12),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**LARGEST_EXACT,
        rng=0,
    )
    return float(test.pvalue)


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

    One of the 2^n sign patterns is the most extreme on either side, in the sign-flip test and in
    Wilcoxon's signed-rank test.
    """
    return min(1.0, 2.0 ** (1 - n))
