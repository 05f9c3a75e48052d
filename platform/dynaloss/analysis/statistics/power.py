"""Power of the paired t test, and warnings on the number of seeds of a plan."""

from __future__ import annotations

import math

from dynaloss.analysis.statistics.significance import sign_flip_floor

_LEVEL = 0.05


def paired_power(effect: float, n: int, *, level: float = _LEVEL) -> float:
    """Probability that the two-sided paired t test of n pairs finds an effect.

    From the noncentral t distribution with n - 1 degrees of freedom and noncentrality
    effect * sqrt(n) (Cohen, "Statistical Power Analysis", 1988, section 2.3).

    Args:
        effect: True mean difference, in standard deviations of the differences.
        n: Number of pairs, at least 2.
        level: Level of the test, in (0, 1).
    """
    from scipy import stats  # takes a second to import, and only plans need it

    if n < 2:
        raise ValueError(f"`n` must be at least 2, but got {n}.")
    critical = stats.t.ppf(1 - level / 2, n - 1)
    shift = abs(effect) * math.sqrt(n)
    upper = stats.nct.sf(critical, n - 1, shift)
    lower = stats.nct.cdf(-critical, n - 1, shift)
    return float(upper) + (0.0 if math.isnan(lower) else float(lower))  # NaN below 1e-15


def smallest_difference(
    spread: float, n: int, *, power: float = 0.8, level: float = _LEVEL
) -> float | None:
    """Smallest mean paired difference that n pairs find with the given power.

    Args:
        spread: Standard deviation of the paired differences, in the unit of the metric. Two arms
            that vary by s over the seeds, independently, give s * sqrt(2).
        n: Number of pairs.
        power: Probability of finding it, in (level, 1).
        level: Level of the two-sided paired t test.

    Returns:
        The difference in the unit of `spread`; None for fewer than two pairs.
    """
    if n < 2:
        return None
    from scipy.optimize import brentq

    high = 1.0
    while paired_power(high, n, level=level) < power:
        high *= 2
    effect = brentq(lambda effect: paired_power(effect, n, level=level) - power, 0.0, high)
    return float(effect) * spread


def seed_warnings(n: int, comparisons: int, *, level: float = _LEVEL) -> tuple[str, ...]:
    """Limits of n paired seeds, one sentence each.

    Args:
        n: Number of seeds.
        comparisons: Number of differences that the table corrects for.
        level: Level of the tests.
    """
    if n < 2:
        return ("1 seed gives no spread: no interval and no test.",)
    warnings = []
    floor = sign_flip_floor(n)
    if floor >= level:
        warnings.append(
            f"{n} seeds cannot reach p < {level:.2g} in a two-sided signed-rank or sign-flip "
            f"test: the smallest p is {floor:.3g}."
        )
    elif comparisons > 1 and comparisons * floor >= level:
        needed = math.floor(1 - math.log2(level / comparisons)) + 1
        warnings.append(
            f"{n} seeds cannot reach a Holm-corrected p < {level:.2g} for any of "
            f"{comparisons} differences; {needed} seeds can."
        )
    return tuple(warnings)
