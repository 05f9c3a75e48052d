"""Power of the tests of a table, by simulation, and warnings on the number of seeds of a plan."""

from __future__ import annotations

import math

import numpy as np

from dynaloss.analysis.statistics.significance import (
    LEVEL,
    Adjustment,
    holm,
    sign_flip_floor,
    step_down,
)

_POWER = 0.8
_TABLES = 400
_EXACT = 10  # of more seeds, 512 drawn patterns of signs are enough for a simulation
_MOST_SEEDS = 100


def table_power(effect: float, n: int, comparisons: int = 1, adjust: Adjustment = "maxt") -> float:
    """Probability that the test of a table finds the one effect among its differences.

    By simulation of 400 tables from a fixed seed: normal values of n seeds, differences to one
    shared baseline, one of which has the effect, adjusted as the comparison does.

    Args:
        effect: True mean difference in standard deviations of the paired differences.
        n: Number of seeds, at least 2.
        comparisons: Number of differences in the table, at least 1.
        adjust: How their p values are adjusted.
    """
    if n < 2:
        raise ValueError(f"`n` must be at least 2, but got {n}.")
    rng = np.random.default_rng(0)
    arms = rng.standard_normal((_TABLES, comparisons + 1, n)) / math.sqrt(2)
    differences = arms[:, 1:] - arms[:, :1]
    differences[:, 0] += effect
    if adjust == "maxt":
        p_values = step_down(differences.transpose(0, 2, 1), _EXACT)[:, 0]
    else:
        alone = step_down(differences.reshape(-1, n, 1), _EXACT).reshape(_TABLES, comparisons)
        p_values = np.array([holm(row)[0] for row in alone.tolist()])
    return float(np.mean(p_values <= LEVEL))


def smallest_difference(
    spread: float, n: int, comparisons: int = 1, adjust: Adjustment = "maxt"
) -> float | None:
    """Smallest mean difference that n seeds find with 80 % power; None where none is found.

    In the unit of `spread`, the standard deviation of the paired differences. Two arms that vary
    by s over the seeds, independently, have a spread of s * sqrt(2). See `table_power`.
    """
    if not _can_reject(n, comparisons, adjust):
        return None
    low, high = 0.0, 1.0
    while table_power(high, n, comparisons, adjust) < _POWER:
        low, high = high, 2 * high
    while high - low > 0.01:
        middle = (low + high) / 2
        if table_power(middle, n, comparisons, adjust) < _POWER:
            low = middle
        else:
            high = middle
    return high * spread


def seeds_that_find(
    effect: float, comparisons: int = 1, adjust: Adjustment = "maxt"
) -> int | None:
    """Fewest seeds that find an effect with 80 % power, up to 100; None where more are needed.

    The effect is in standard deviations of the paired differences. See `table_power`.
    """
    low, high = 1, 4
    while not _finds(effect, high, comparisons, adjust):
        low, high = high, 2 * high
        if high > _MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if _finds(effect, middle, comparisons, adjust):
            high = middle
        else:
            low = middle
    return high


def _finds(effect: float, n: int, comparisons: int, adjust: Adjustment) -> bool:
    can = _can_reject(n, comparisons, adjust)
    return can and table_power(effect, n, comparisons, adjust) >= _POWER


def _can_reject(n: int, comparisons: int, adjust: Adjustment) -> bool:
    tests = comparisons if adjust == "holm" else 1
    return n > 1 and tests * sign_flip_floor(n) <= LEVEL


def seed_warnings(n: int, comparisons: int, adjust: Adjustment = "maxt") -> tuple[str, ...]:
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
