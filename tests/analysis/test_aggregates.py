"""Aggregates against implementations of their own, in scipy and plain loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from dynaloss.analysis import compare
from dynaloss.analysis.figures.overview import performance_profiles
from dynaloss.analysis.statistics.aggregates import (
    aggregate,
    optimality_gap,
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


def test_optimality_gap_in_a_plain_loop() -> None:
    values = [float(v) for x in X for v in x]
    assert optimality_gap(X, 0.9) == pytest.approx(
        sum(max(0.9 - v, 0.0) for v in values) / len(values)
    )


def test_performance_profile_is_one_minus_the_empirical_distribution() -> None:
    thresholds = [0.0, 0.3, 0.5, 0.99]
    expected = np.mean([1 - stats.ecdf(x).cdf.evaluate(thresholds) for x in X], axis=0)
    assert performance_profile(X, thresholds) == pytest.approx(expected)


def test_aggregate_over_conditions(records: Sequence[TrialRecord]) -> None:
    found = {one.arm: one for one in aggregate(compare(records, "test/accuracy", "none"))}
    values = [r.metrics["test/accuracy"] for r in records if r.arm == "full"]
    # Six values: the two in the middle count whole, their neighbours half.
    middle, full = sorted(values)[1:5], found["full"]
    assert full.iqm[0] == pytest.approx(np.average(middle, weights=[0.5, 1, 1, 0.5]))
    assert full.iqm[1][0] <= full.iqm[0] <= full.iqm[1][1]
    assert full.improvement is not None
    assert found["none"].improvement is None
    assert full.optimality_gap is not None
    assert full.optimality_gap[0] == pytest.approx(1 - np.mean(values))


def test_improvement_follows_the_direction_of_the_metric(record: MakeRecord) -> None:
    trials = [
        record(arm, s, metrics={"train/loss": v + s / 9})
        for arm, v in (("none", 2.0), ("full", 1.0))
        for s in range(2)
    ]
    one = aggregate(compare(trials, "train/loss", "none"))[1]
    assert one.improvement == (1.0, (1.0, 1.0))
    assert one.optimality_gap is None


def test_arm_without_a_condition_is_left_out(record: MakeRecord) -> None:
    trials = [record("a", condition="x"), record("a", condition="y"), record("b", condition="x")]
    assert [one.arm for one in aggregate(compare(trials, "test/accuracy"))] == ["a"]


def test_arms_with_values_in_different_conditions_are_not_compared(record: MakeRecord) -> None:
    places = {"a": "xy", "b": "yz"}
    trials = [record(arm, condition=c) for arm, conditions in places.items() for c in conditions]
    comparison = compare(trials, "test/accuracy", "a")
    assert aggregate(comparison) == ()
    assert performance_profiles(comparison, ["a", "b"]) is None
