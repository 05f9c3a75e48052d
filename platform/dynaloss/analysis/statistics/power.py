"""Power of the paired t test, and warnings on the number of seeds of a plan."""

from __future__ import annotations

import math

from dynaloss.analysis.statistics.significance import LEVEL, sign_flip_floor

_POWER = 0.8


def paired_power(effect: float, n: int) -> float:
    """Probability that the two-sided paired t test of n >= 2 pairs at level 0.05 finds an effect.

    From the noncentral t distribution with n - 1 degrees of freedom and noncentrality
    effect * sqrt(n) (Cohen, "Statistical Power Analysis", 1988, section 2.3). The effect is the
    true mean difference in standard deviations of the differences.
    """
    from scipy import stats  # takes a second to import, and only plans need it

    if n < 2:
        raise ValueError(f"`n` must be at least 2, but got {n}.")
    critical = stats.t.ppf(1 - LEVEL / 2, n - 1)
    shift = abs(effect) * math.sqrt(n)
    upper = stats.nct.sf(critical, n - 1, shift)
    lower = stats.nct.cdf(-critical, n - 1, shift)
    return float(upper) + (0.0 if math.isnan(lower) else float(lower))  # NaN below 1e-15


def smallest_difference(spread: float, n: int) -> float | None:
    """Smallest mean difference that n pairs find with 80 % power; None for fewer than two.

    In the unit of `spread`, the standard deviation of the paired differences. Two arms that vary
    by s over the seeds, independently, have a spread of s * sqrt(2).
    """
    if n < 2:
        return None
    from scipy.optimize import brentq

    high = 1.0
    while paired_power(high, n) < _POWER:
        high *= 2
    return float(brentq(lambda effect: paired_power(effect, n) - _POWER, 0.0, high)) * spread


def seed_warnings(n: int, comparisons: int, adjust: str = "maxt") -> tuple[str, ...]:
    """Limits of n paired seeds in a table adjusted for the comparisons, as sentences.

    Step-down maxT has the smallest p of a single test for any number of comparisons.
    """
    if n < 2:
        return ("1 seed gives no spread: no interval and no test.",)
    floor = sign_flip_floor(n)
    if floor >= LEVEL:
        return (
            f"{n} seeds cannot reach p < {LEVEL:.2g} in a two-sided signed-rank or sign-flip "
            f"test: the smallest p is {floor:.3g}.",
        )
    if adjust == "holm" and comparisons * floor >= LEVEL:
        return (
            f"{n} seeds cannot reach a Holm-corrected p < {LEVEL:.2g} for any of "
            f"{comparisons} differences; {fewest_seeds(comparisons)} seeds can.",
        )
    return ()


def fewest_seeds(comparisons: int) -> int:
    """Number of seeds with which the smallest p times the comparisons is below the level."""
    return math.floor(1 - math.log2(LEVEL / comparisons)) + 1
