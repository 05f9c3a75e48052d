"""Races between configurations over seeds, by hand-made results."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from dynaloss.config.search import RaceConfig
from dynaloss.execution.search.race import Entry, race_of
from dynaloss.studies.trial_record import Outcome

RACE = RaceConfig(top=3, seeds=(100, 101, 102))
SEARCHED = [(7, 0.80), (2, 0.79), (5, 0.78)]
Raced = dict[Entry, tuple[Outcome, float]]


def raced(values: dict[int, list[float]]) -> Raced:
    """Completed trials: by number, the values of the rounds so far."""
    return {
        (number, seed): (Outcome.COMPLETED, value)
        for number, own in values.items()
        for seed, value in zip(RACE.seeds, own, strict=False)
    }


def test_the_first_two_rounds_begin_together_as_no_test_can_drop_before() -> None:
    race = race_of(RACE, SEARCHED, {})
    assert race.to_run == ((7, 100), (2, 100), (5, 100), (7, 101), (2, 101), (5, 101))
    assert [one.number for one in race.standings] == [7, 2, 5]
    single = race_of(RaceConfig(top=3, seeds=(100,)), SEARCHED, {})
    assert single.to_run == ((7, 100), (2, 100), (5, 100))


def test_a_round_that_can_drop_waits_for_every_trial_before_it() -> None:
    values = {7: [0.7, 0.7], 2: [0.8, 0.8], 5: [0.8]}
    assert race_of(RACE, SEARCHED, raced({7: [0.7], 2: [0.8]})).to_run == (
        (5, 100), (7, 101), (2, 101), (5, 101)
    )  # fmt: skip
    assert race_of(RACE, SEARCHED, raced(values)).to_run == ((5, 101),)


def test_the_second_round_counts_only_once_the_first_has_ended() -> None:
    early: Raced = {(number, 101): (Outcome.COMPLETED, 0.9) for number, _ in SEARCHED}
    race = race_of(RACE, SEARCHED, early)
    assert race.to_run == ((7, 100), (2, 100), (5, 100))
    assert [len(one.values) for one in race.standings] == [1, 1, 1]
    found = {**early, **raced({7: [0.8], 2: [0.8], 5: [0.8]})}
    assert race_of(RACE, SEARCHED, found).to_run == ((7, 102), (2, 102), (5, 102))


def test_the_mean_over_all_seeds_decides() -> None:
    race = race_of(RACE, SEARCHED, raced({7: [0.70, 0.9, 0.5], 2: [0.8, 0.7, 0.8], 5: [0.6] * 3}))
    assert race.to_run == ()
    assert [one.number for one in race.standings] == [2, 7, 5]
    assert race.standings[0].mean == pytest.approx((0.79 + 0.8 + 0.7 + 0.8) / 4)


def test_who_is_behind_by_a_paired_t_test_drops_out() -> None:
    values = {7: [0.80, 0.81], 2: [0.80, 0.80], 5: [0.60, 0.585]}
    ahead, behind = [0.80, 0.80, 0.81], [0.78, 0.60, 0.585]
    assert stats.ttest_rel(ahead, behind, alternative="greater").pvalue > 0.05
    assert race_of(RACE, SEARCHED, raced(values)).to_run == ((7, 102), (2, 102), (5, 102))
    searched = [(7, 0.80), (2, 0.79), (5, 0.60)]
    race = race_of(RACE, searched, raced(values))
    assert stats.ttest_rel(ahead, [0.6, 0.6, 0.585], alternative="greater").pvalue < 0.01
    assert race.to_run == ((7, 102), (2, 102))
    assert {one.number: one.dropped_after for one in race.standings} == {7: None, 2: None, 5: 2}


def test_equal_ones_all_go_on() -> None:
    race = race_of(RACE, [(1, 0.5), (0, 0.5)], raced({1: [0.5, 0.5], 0: [0.5, 0.5]}))
    assert race.to_run == ((1, 102), (0, 102))


def test_one_that_diverges_drops_out_and_one_that_fails_is_waited_for() -> None:
    found = raced({7: [0.8], 2: [0.8]})
    failed = race_of(RACE, SEARCHED, {**found, (5, 100): (Outcome.FAILED, math.nan)})
    assert failed.to_run == ((5, 100), (7, 101), (2, 101), (5, 101))
    assert [len(one.values) for one in failed.standings] == [1, 1, 1]
    diverged = race_of(RACE, SEARCHED, {**found, (5, 100): (Outcome.DIVERGED, math.nan)})
    assert diverged.to_run == ((7, 101), (2, 101))
    assert diverged.standings[-1].number == 5


def test_a_single_configuration_has_no_race() -> None:
    assert race_of(RACE, [(3, 0.5)], {}).to_run == ()
