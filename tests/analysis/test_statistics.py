"""Statistics against scipy and examples counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynaloss.analysis.statistics import (
    bootstrap_interval,
    mean,
    paired_difference,
    std,
    t_interval,
)

VALUES = st.lists(st.floats(-1, 1).map(lambda value: round(value, 6)), min_size=2, max_size=12)


def test_mean_and_std_of_a_hand_counted_example() -> None:
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert std([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_one_value_has_a_mean_but_no_spread() -> None:
    assert mean([0.5]) == 0.5
    assert math.isnan(std([0.5]))
    assert t_interval([0.5]) is None
    assert bootstrap_interval([0.5]) is None


def test_mean_of_nothing_is_nan() -> None:
    assert math.isnan(mean([]))


@given(VALUES)
def test_mean_does_not_depend_on_order(values: list[float]) -> None:
    assert mean(values) == mean(values[::-1])


@given(VALUES.filter(lambda values: np.ptp(values) > 1e-3))
def test_t_interval_agrees_with_scipy(values: list[float]) -> None:
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("n", [5, 10])
def test_t_interval_covers_the_true_mean_in_95_percent(n: int) -> None:
    samples = np.random.default_rng(1).standard_normal((2_000, n))
    intervals = [t_interval(sample.tolist()) for sample in samples]
    covered = np.mean([bool(i and i[0] <= 0 <= i[1]) for i in intervals])
    assert 0.93 <= covered <= 0.97


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(2).normal(0.8, 0.05, 12)
    expected = stats.bootstrap((values,), np.mean, method="percentile").confidence_interval
    actual = bootstrap_interval(values.tolist())
    assert actual == pytest.approx((expected.low, expected.high), abs=1.5e-3)


@given(VALUES)
def test_bootstrap_stays_within_the_values(values: list[float]) -> None:
    interval = bootstrap_interval(values)
    assert interval is not None
    assert min(values) - 1e-12 <= interval[0] <= interval[1] <= max(values) + 1e-12


def test_bootstrap_of_three_values_is_their_range() -> None:
    assert bootstrap_interval([0.1, 0.5, 0.2]) == pytest.approx((0.1, 0.5))


def test_bootstrap_of_equal_values_is_degenerate() -> None:
    assert bootstrap_interval([0.25, 0.25, 0.25]) == (0.25, 0.25)


def test_bootstrap_repeats_and_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state(legacy=True)[1].copy()  # noqa: NPY002 - the state under test
    values = [0.1, 0.4, 0.2, 0.9, 0.3]
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert np.array_equal(before, np.random.get_state(legacy=True)[1])  # noqa: NPY002


def test_bootstrap_follows_the_generator_given() -> None:
    values = np.random.default_rng(3).standard_normal(9).tolist()
    one, other = (bootstrap_interval(values, rng=np.random.default_rng(s)) for s in (1, 2))
    assert one != other


def test_difference_pairs_by_seed() -> None:
    difference = paired_difference({0: 0.9, 1: 0.7, 5: 0.1}, {1: 0.6, 0: 0.6})
    assert difference is not None
    assert difference.n == 2
    assert difference.mean == pytest.approx((0.3 + 0.1) / 2)
    assert difference.ci95 == pytest.approx((0.1, 0.3))


def test_difference_removes_what_the_seeds_share() -> None:
    baseline = {0: 0.25, 1: 0.5, 2: 0.75}
    difference = paired_difference({s: v + 0.125 for s, v in baseline.items()}, baseline)
    assert difference is not None
    assert difference.ci95 == (0.125, 0.125)


def test_difference_of_one_shared_seed_has_no_interval() -> None:
    difference = paired_difference({0: 0.9}, {0: 0.8, 1: 0.5})
    assert difference is not None
    assert difference.ci95 is None


def test_no_shared_seed_gives_no_difference() -> None:
    assert paired_difference({0: 0.9}, {1: 0.8}) is None
