"""Power against closed forms, and limits of the seeds."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from dynaloss.analysis.statistics.power import (
    seed_warnings,
    seeds_that_find,
    smallest_difference,
    table_power,
)


@pytest.mark.parametrize("effect", [0.0, 0.5, 1.0, 1.8])
def test_power_of_six_seeds_is_that_of_equal_signs(effect: float) -> None:
    """With one difference, only six differences of one sign reach p = 2 / 2^6 < 0.05."""
    one_sign = stats.norm.cdf(effect) ** 6 + stats.norm.cdf(-effect) ** 6
    assert table_power(effect, 6) == pytest.approx(one_sign, abs=0.06)


def test_smallest_difference_of_six_seeds() -> None:
    exact = stats.norm.ppf(0.8 ** (1 / 6))
    assert smallest_difference(0.02, 6) == pytest.approx(0.02 * exact, rel=0.05)


@pytest.mark.parametrize("effect", [0.5, 0.8])
def test_power_of_many_seeds_comes_near_that_of_the_t_test(effect: float) -> None:
    n = 20
    critical, shift = stats.t.ppf(0.975, n - 1), effect * n**0.5
    expected = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    assert table_power(effect, n) == pytest.approx(expected, abs=0.06)


def test_more_comparisons_need_a_larger_difference_and_holm_a_larger_one_still() -> None:
    one, many = (smallest_difference(1.0, 8, comparisons) for comparisons in (1, 6))
    with_holm = smallest_difference(1.0, 9, 6, "holm")
    with_maxt = smallest_difference(1.0, 9, 6)
    assert None not in (one, many, with_holm, with_maxt)
    assert one < many
    assert with_maxt < with_holm


def test_seeds_that_find_an_effect_are_the_fewest() -> None:
    n = seeds_that_find(1.5, 6)
    assert n is not None
    assert table_power(1.5, n, 6) >= 0.8 > table_power(1.5, n - 1, 6)
    assert seeds_that_find(0.01, 6) is None


def test_too_few_seeds_find_nothing() -> None:
    assert smallest_difference(0.02, 1) is smallest_difference(0.02, 5) is None
    assert smallest_difference(0.02, 6, 2, "holm") is None
    with pytest.raises(ValueError, match=r"`n`.*at least 2\b.*got 1"):
        table_power(1.0, 1)


def test_power_repeats_and_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state(legacy=True)[1].copy()  # noqa: NPY002 - the state under test
    assert table_power(1.0, 7, 3) == table_power(1.0, 7, 3)
    assert np.array_equal(before, np.random.get_state(legacy=True)[1])  # noqa: NPY002


def test_warnings_name_the_limits_of_the_seeds() -> None:
    assert "no interval" in seed_warnings(1, 3)[0]
    two_sided = r"^5 seeds .*\bp < 0\.05 .*two-sided signed-rank .*smallest p .*\b0\.0625\."
    assert re.search(two_sided, seed_warnings(5, 3)[0])
    holm = r"^6 seeds .*Holm.* p < 0\.05 .*\b3 differences.*\b7 seeds "
    assert re.search(holm, seed_warnings(6, 3, "holm")[0])
    assert seed_warnings(7, 3, "holm") == seed_warnings(6, 300) == ()
