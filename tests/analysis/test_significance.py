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
    adjusted_p,
    holm,
    sign_flip_floor,
    sign_flip_p,
    step_down,
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
def test_step_down_counts_every_pattern_step_by_step(differences: list[dict[int, float]]) -> None:
    """Westfall and Young's algorithm 4.1 written out: the max over those not yet passed."""
    seeds = sorted({seed for found in differences for seed in found})
    patterns = [
        dict(zip(seeds, signs, strict=True))
        for signs in itertools.product((1, -1), repeat=len(seeds))
    ]
    tables = [[_statistic(found, signs) for found in differences] for signs in patterns]
    observed = tables[0]
    left, largest, expected = list(range(len(observed))), 0.0, [0.0] * len(observed)
    while left:
        first = max(left, key=lambda i: observed[i])
        share = np.mean([max(t[i] for i in left) >= observed[first] - 1e-9 for t in tables])
        largest = max(largest, float(share))
        expected[first] = largest
        left.remove(first)
    rows = [[found.get(seed, 0.0) for found in differences] for seed in seeds]
    (found,) = step_down(np.array([rows]))
    # Cells of equal statistics may be passed in either order, to the same p values.
    assert found == pytest.approx(expected)


def _statistic(differences: dict[int, float], signs: dict[int, int]) -> float:
    values = np.array([signs[seed] * value for seed, value in differences.items()])
    return float(abs(values.sum()) / np.sqrt((values**2).sum())) if values.any() else 0.0


@given(st.lists(st.lists(st.integers(-9, 9), min_size=7, max_size=7), min_size=2, max_size=5))
def test_with_equal_numbers_of_seeds_the_order_is_that_of_t(rows: list[list[int]]) -> None:
    """So that the step-down test is that on |t|, where all have the same seeds."""
    signs = dict.fromkeys(range(7), 1)
    found = [_statistic(dict(enumerate(row)), signs) for row in rows]
    t = [abs(stats.ttest_1samp(row, 0).statistic) if np.std(row) > 1e-6 else None for row in rows]
    for (one, its_t), (other, other_t) in itertools.pairwise(zip(found, t, strict=True)):
        if its_t is not None and other_t is not None and abs(its_t - other_t) > 1e-6:
            assert (one > other) == (its_t > other_t)


@pytest.mark.parametrize("few", [2, 3, 5, 6, 7])
def test_a_difference_of_few_seeds_hides_no_effect_of_its_table(few: int) -> None:
    """Nearly equal values of a few seeds have an all but infinite |t| in many patterns."""
    rng = np.random.default_rng(1)
    table = [dict(enumerate(row)) for row in rng.normal(1.0, 0.2, (5, 8)).tolist()]
    assert adjusted_p(table) == [2 / 2**8] * 5
    *others, added = adjusted_p([*table, {seed: 1 + 1e-9 * seed for seed in range(few)}])
    assert max(others) <= 2 * 2 / 2**8
    assert math.isnan(added) if few < 6 else added <= 2 / 2**6


@pytest.mark.parametrize("adjust", ["maxt", "holm"])
def test_what_no_test_could_find_has_no_p_value_and_costs_the_others_nothing(adjust: str) -> None:
    values = {0: 0.3, 1: 0.1, 2: 0.4, 3: 0.2, 4: 0.5, 5: 0.2}
    (found, *none) = adjusted_p([values, {0: 1.0}, {0: 1.0, 1: 2.0}, {}], adjust)
    assert found == sign_flip_p([*values.values()])
    assert all(map(math.isnan, none))
    assert adjusted_p([], adjust) == []


def test_step_down_of_many_seeds_is_drawn_and_close_to_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, 40)
    (p,) = adjusted_p([dict(enumerate(values.tolist()))])
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, 0.15)


def test_step_down_keeps_false_positives_of_a_table_at_five_percent_and_finds_effects() -> None:
    """Six seeds, six differences to one baseline, hence dependent; then effects of two spreads."""
    rng = np.random.default_rng(3)
    tables, found, powers = 300, 0, []
    for _ in range(tables):
        values = rng.standard_normal((6, 6)) - rng.standard_normal(6)
        found += min(adjusted_p([dict(enumerate(row)) for row in values.tolist()])) < 0.05
        with_effects = [dict(enumerate(row)) for row in (values + 2 * 2**0.5).tolist()]
        powers.append(np.mean(np.array(adjusted_p(with_effects)) < 0.05))
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
