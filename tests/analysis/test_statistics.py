"""Statistics against scipy and examples counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynaloss.analysis.statistics.intervals import (
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


def test_difference_pairs_by_seed() -> None:
    difference = paired_difference({0: 0.9, 1: 0.7, 5: 0.1}, {1: 0.6, 0: 0.6})
    assert difference is not None
    assert difference.n == 2
    assert difference.mean == pytest.approx((0.3 + 0.1) / 2)
    assert difference.ci95 == pytest.approx((0.2 - 12.7062 * 0.1, 0.2 + 12.7062 * 0.1), abs=1e-4)
    assert difference.p == 0.5
    assert not difference.clear


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
