"""Tests of significance against scipy, hand-counted examples and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from dynaloss.analysis.statistics.significance import (
    holm,
    max_t,
    sign_flip_floor,
    sign_flip_p,
)


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


@example([{0: 1.0, 1: 2.0, 2: 4.0}, {0: 1.0, 1: -2.0, 2: 4.0}])
@example([{0: 1.0, 1: 2.0, 2: 4.0}, {1: 3.0, 2: 3.0}, {0: 0.0, 1: 0.0}])
@given(
    st.lists(
        st.dictionaries(st.integers(0, 5), st.integers(-9, 9).map(float), min_size=2, max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_max_t_counts_every_pattern_step_by_step(differences: list[dict[int, float]]) -> None:
    """Westfall and Young's algorithm 4.1 written out: the max over those not yet passed."""
    seeds = sorted({seed for found in differences for seed in found})
    patterns = [
        dict(zip(seeds, signs, strict=True))
        for signs in itertools.product((1, -1), repeat=len(seeds))
    ]
    tables = [[_abs_t(found, signs) for found in differences] for signs in patterns]
    observed = tables[0]
    left, largest, expected = list(range(len(observed))), 0.0, [0.0] * len(observed)
    while left:
        first = max(left, key=lambda i: observed[i])
        share = np.mean([max(t[i] for i in left) >= observed[first] - 1e-9 for t in tables])
        largest = max(largest, float(share))
        expected[first] = largest
        left.remove(first)
    found = max_t(differences)
    # Cells of equal |t| may be passed in either order, to the same p values.
    assert found == pytest.approx(expected)


def _abs_t(differences: dict[int, float], signs: dict[int, int]) -> float:
    values = np.array([signs[seed] * value for seed, value in differences.items()])
    if not values.any():
        return 0.0
    spread = values.std(ddof=1)
    return 1e9 if spread < 1e-12 else float(abs(values.mean()) / spread * len(values) ** 0.5)


def test_max_t_of_one_difference_is_the_sign_flip_test_and_of_one_pair_none() -> None:
    values = {0: 0.3, 1: -0.1, 2: 0.4, 3: 0.2}
    (found, none) = max_t([values, {0: 1.0}])
    assert found == sign_flip_p([*values.values()])
    assert math.isnan(none)
    assert max_t([]) == []


def test_max_t_of_many_seeds_is_drawn_and_close_to_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, 40)
    (p,) = max_t([dict(enumerate(values.tolist()))])
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, 0.15)


def test_max_t_keeps_false_positives_of_a_table_at_five_percent_and_finds_effects() -> None:
    """Six seeds, six differences to one baseline, hence dependent; then effects of two spreads."""
    rng = np.random.default_rng(3)
    tables, found, powers = 300, 0, []
    for _ in range(tables):
        values = rng.standard_normal((6, 6)) - rng.standard_normal(6)
        found += min(max_t([dict(enumerate(row)) for row in values.tolist()])) < 0.05
        with_effects = [dict(enumerate(row)) for row in (values + 2 * 2**0.5).tolist()]
        powers.append(np.mean(np.array(max_t(with_effects)) < 0.05))
    assert found / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5
    assert np.mean(powers) >= 0.75


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
