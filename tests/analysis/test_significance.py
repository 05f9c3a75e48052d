"""Tests of significance against scipy, hand-counted examples and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from dynaloss.analysis.statistics.significance import holm, sign_flip_floor, sign_flip_p


def test_sign_flip_of_a_hand_counted_example() -> None:
    # Of the 8 patterns of (1, 2, 4), |sum| >= 5 in: 7, 5, -5, -7.
    assert sign_flip_p([-1.0, 2.0, 4.0]) == 4 / 8


@example([0, 0, 0, 0, 0, -1, -3, 4])
@example([-2, -6, 9, -3, 4, -2])
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=8))
def test_sign_flip_counts_every_pattern(values: list[int]) -> None:
    sums = [
        sum(sign * value for sign, value in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    extreme = sum(abs(total) >= abs(sum(values)) for total in sums)
    # In tenths, whose sums round: equal sums must count as equal.
    assert sign_flip_p([v / 10 for v in values]) == pytest.approx(extreme / len(sums))


def test_sign_flip_of_many_pairs_is_drawn_and_close_to_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, 40)
    assert sign_flip_p(values.tolist()) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, 0.15)


def test_sign_flip_without_pairs_and_without_effect() -> None:
    assert math.isnan(sign_flip_p([]))
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0


@pytest.mark.parametrize("n", [4, 5, 6, 8])
def test_tests_reach_their_smallest_p(n: int) -> None:
    values = [1.0 + i for i in range(n)]
    assert sign_flip_p(values) == sign_flip_floor(n)
    assert stats.wilcoxon(values).pvalue == pytest.approx(sign_flip_floor(n))


def test_five_seeds_cannot_reach_five_percent() -> None:
    assert sign_flip_floor(5) == 0.0625


def test_holm_of_a_hand_counted_example() -> None:
    # Sorted: .005 * 4, .01 * 3, .03 * 2, .04 * 1, then the running maximum.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested_and_never_exceeds_one() -> None:
    assert holm([math.nan, 0.6, 0.7]) == pytest.approx([math.nan, 1.0, 1.0], nan_ok=True)
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, len(p_values) * p)


@pytest.mark.parametrize("n", [6, 8])
def test_holm_keeps_false_positives_of_a_table_below_five_percent(n: int) -> None:
    rng = np.random.default_rng(7)
    tables = 1_000
    found = 0
    for _ in range(tables):
        # Differences to one shared baseline, hence dependent, as in a table.
        values = rng.standard_normal((4, n)) - rng.standard_normal(n)
        found += min(holm([sign_flip_p(row.tolist()) for row in values])) < 0.05
    assert found / tables <= 0.05
