"""Power against simulation and published tables."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import integrate, stats

from dynaloss.analysis.statistics.power import paired_power, seed_warnings, smallest_difference


def test_power_without_an_effect_is_the_level() -> None:
    assert paired_power(0.0, 5) == pytest.approx(0.05)


@pytest.mark.parametrize(("n", "effect"), [(3, 3.26), (5, 1.69), (10, 1.0)])
def test_smallest_difference_agrees_with_published_values(n: int, effect: float) -> None:
    # G*Power 3.1, paired t test, two-sided, level 0.05, power 0.8.
    assert smallest_difference(1.0, n) == pytest.approx(effect, abs=0.02)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_simulated_t_tests_find_it_in_80_percent(n: int) -> None:
    difference = smallest_difference(0.02, n)
    assert difference is not None
    samples = np.random.default_rng(n).normal(difference, 0.02, (20_000, n))
    found = np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(0.8, abs=0.012)


def test_two_seeds_need_an_effect_of_a_dozen_deviations() -> None:
    effect = smallest_difference(1.0, 2)
    critical, shift = stats.t.ppf(0.975, 1), effect * math.sqrt(2)

    def reached(scale: float) -> float:
        """Probability of |t| > critical given the sample's deviation, with its density."""
        found = stats.norm.sf(critical * scale - shift) + stats.norm.cdf(-critical * scale - shift)
        return float(found * 2 * stats.norm.pdf(scale))

    assert integrate.quad(reached, 0, math.inf)[0] == pytest.approx(0.8, abs=1e-6)


def test_one_seed_detects_nothing() -> None:
    assert smallest_difference(0.02, 1) is None
    with pytest.raises(ValueError, match=r"`n`.*at least 2\b.*got 1"):
        paired_power(1.0, 1)


def test_warnings_name_the_limits_of_the_seeds() -> None:
    assert "no interval" in seed_warnings(1, 3)[0]
    two_sided = r"^5 seeds .*\bp < 0\.05 .*two-sided signed-rank .*smallest p .*\b0\.0625\."
    assert re.search(two_sided, seed_warnings(5, 3)[0])
    holm = r"^6 seeds .*Holm.* p < 0\.05 .*\b3 differences.*\b7 seeds "
    assert re.search(holm, seed_warnings(6, 3, "holm")[0])
    assert seed_warnings(7, 3, "holm") == seed_warnings(6, 300) == ()
