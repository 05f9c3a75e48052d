"""Aggregates over conditions: one number an arm, intervals from seeds resampled per condition.

Source: Agarwal et al., "Deep RL at the Edge of the Statistical Precipice", NeurIPS 2021. Scores of
an arm are one array of values over the seeds for each condition; every array may have a leading
axis of resamples B, over which all functions work at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynaloss.analysis.statistics.comparison import Comparison
from dynaloss.analysis.statistics.intervals import Interval, mean
from dynaloss.studies.metric_names import higher_is_better

_Array = NDArray[np.float64]
_Scores = Sequence[_Array]
_NUM_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """An arm against the baseline over all conditions.

    Attributes:
        arm: Name of the arm.
        difference: Mean over the conditions of the paired differences.
        lowest: Condition where the paired difference is lowest, and that difference.
        highest: The same where it is highest.
        improvement: Probability that the arm beats the baseline at a random condition with random
            seeds, ties counted half, with its interval.
    """

    arm: str
    difference: float
    lowest: tuple[str, float]
    highest: tuple[str, float]
    improvement: tuple[float, Interval]


def aggregate(comparison: Comparison) -> tuple[Aggregate, ...]:
    """Aggregates of every arm that `complete_scores` lists, but the baseline; none without one."""
    complete = complete_scores(comparison)
    reference = complete.pop(comparison.baseline or "", None)
    if reference is None:
        return ()
    better = higher_is_better(comparison.metric)

    def improvement(values: _Scores, baseline: _Scores) -> _Array:
        sides = (values, baseline) if better else (baseline, values)
        return probability_of_improvement(*sides)

    found = []
    for arm, values in complete.items():
        cells = (comparison.cell(condition, arm) for condition in comparison.conditions)
        by_size = sorted(
            (cell.difference.mean, cell.condition) for cell in cells if cell.difference
        )
        if by_size:
            (low, lowest), (high, highest) = by_size[0], by_size[-1]
            one = Aggregate(
                arm=arm,
                difference=mean([difference for difference, _ in by_size]),
                lowest=(lowest, low),
                highest=(highest, high),
                improvement=_with_interval(improvement, values, reference),
            )
            found.append(one)
    return tuple(found)


def complete_scores(comparison: Comparison) -> dict[str, list[_Array]]:
    """Scores of every arm that has a value in every condition in which any arm has one."""
    columns = [comparison.column(condition) for condition in comparison.conditions]
    filled = [cells for cells in columns if any(cell.n for cell in cells)]
    by_arm = zip(*filled, strict=True)
    return {
        cells[0].arm: [np.array([*cell.seeds.values()]) for cell in cells]
        for cells in by_arm
        if all(cell.n for cell in cells)
    }


def probability_of_improvement(scores: _Scores, reference: _Scores) -> _Array:
    """Mean over the conditions of P(value > reference) + P(equal) / 2, shape () or (B,).

    Within a condition that is the Mann-Whitney statistic divided by the number of pairs.
    """
    shares = []
    for values, others in zip(scores, reference, strict=True):
        # Value by value: all pairs of 400 seeds, resampled, take gigabytes.
        each = np.moveaxis(values, -1, 0)[..., None]
        wins = sum(((x > others) + 0.5 * (x == others)).sum(axis=-1) for x in each)
        shares.append(wins / (len(each) * others.shape[-1]))
    return np.asarray(np.mean(shares, axis=0))


def performance_profile(scores: _Scores, thresholds: Sequence[float]) -> _Array:
    """Share of the values above each threshold, conditions weighted equally."""
    tau = np.asarray(thresholds, dtype=np.float64)
    return np.asarray(np.mean([np.mean(x[:, None] > tau, axis=0) for x in scores], axis=0))


def _with_interval(statistic: Callable[..., _Array], *sides: _Scores) -> tuple[float, Interval]:
    """The statistic, and the percentile interval over seeds resampled within conditions."""
    rng = np.random.default_rng(0)
    drawn = [
        [x[rng.integers(len(x), size=(_NUM_RESAMPLES, len(x)))] for x in scores]
        for scores in sides
    ]
    low, high = np.quantile(statistic(*drawn), [0.025, 0.975])
    return float(statistic(*sides)), (float(low), float(high))
