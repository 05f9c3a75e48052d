"""Aggregates against implementations of their own, in scipy and plain loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from dynaloss.analysis import compare
from dynaloss.analysis.figures.overview import performance_profiles
from dynaloss.analysis.statistics.aggregates import (
    aggregate,
    performance_profile,
    probability_of_improvement,
)
from dynaloss.studies.trial_record import TrialRecord

MakeRecord = Callable[..., TrialRecord]
RNG = np.random.default_rng(5)
X = [RNG.integers(0, 9, 4) / 8 for _ in range(3)]
Y = [RNG.integers(0, 9, 5) / 8 for _ in range(3)]


def test_probability_of_improvement_is_the_mann_whitney_statistic() -> None:
    shares = [
        stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(X, Y, strict=True)
    ]
    assert probability_of_improvement(X, Y) == pytest.approx(np.mean(shares))
    assert probability_of_improvement(X, Y) + probability_of_improvement(Y, X) == pytest.approx(1)


def test_performance_profile_is_one_minus_the_empirical_distribution() -> None:
    thresholds = [0.0, 0.3, 0.5, 0.99]
    expected = np.mean([1 - stats.ecdf(x).cdf.evaluate(thresholds) for x in X], axis=0)
    assert performance_profile(X, thresholds) == pytest.approx(expected)


def test_aggregate_over_conditions(record: MakeRecord) -> None:
    """Differences of .1 at x and of .3, .1 at y."""
    values = {("x", "none"): [0.5, 0.6], ("x", "full"): [0.6, 0.7]}
    values |= {("y", "none"): [0.2, 0.4], ("y", "full"): [0.5, 0.5]}
    trials = [
        record(arm, seed, value, condition=condition)
        for (condition, arm), row in values.items()
        for seed, value in enumerate(row)
    ]
    (full,) = aggregate(compare(trials, "test/accuracy", "none"))
    assert full.difference == pytest.approx(0.15)
    assert full.lowest == ("x", pytest.approx(0.1))
    assert full.highest == ("y", pytest.approx(0.2))
    # At x .6 ties .6 once and beats the others; at y all four pairs are beaten.
    assert full.improvement[0] == pytest.approx((3.5 / 4 + 1) / 2)
    assert aggregate(compare(trials, "test/accuracy")) == ()


def test_improvement_follows_the_direction_of_the_metric(record: MakeRecord) -> None:
    trials = [
        record(arm, s, metrics={"train/loss": v + s / 9})
        for arm, v in (("none", 2.0), ("full", 1.0))
        for s in range(2)
    ]
    (one,) = aggregate(compare(trials, "train/loss", "none"))
    assert one.improvement == (1.0, (1.0, 1.0))


def test_arm_without_a_condition_is_left_out(record: MakeRecord) -> None:
    trials = [record("a", condition="x"), record("a", condition="y"), record("b", condition="x")]
    trials += [record("none", condition=condition) for condition in "xy"]
    assert [one.arm for one in aggregate(compare(trials, "test/accuracy", "none"))] == ["a"]


def test_arms_with_values_in_different_conditions_are_not_compared(record: MakeRecord) -> None:
    places = {"a": "xy", "b": "yz"}
    trials = [record(arm, condition=c) for arm, conditions in places.items() for c in conditions]
    comparison = compare(trials, "test/accuracy", "a")
    assert aggregate(comparison) == ()
    assert performance_profiles(comparison, ["a", "b"]) is None
