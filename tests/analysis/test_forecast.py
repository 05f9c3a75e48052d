"""What a plan takes and can show."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from dynaloss.analysis.forecast import forecast, paired_spread
from dynaloss.design import AblationStudy, TrialConfig, make_plan
from dynaloss.design.plan import Plan
from dynaloss.design.record import Outcome, TrialRecord

MakeRecord = Callable[..., TrialRecord]


@pytest.fixture
def plan() -> Plan:
    study = AblationStudy(
        study="s",
        trial=TrialConfig(),
        arms={"none": {"loss.margin.enabled": False}, "full": {}},
        seeds=(0, 1, 2, 3, 4),
    )
    return make_plan(study, {"digits": "d"})


@pytest.fixture
def done(plan: Plan, record: MakeRecord) -> list[TrialRecord]:
    """Three seeds of both arms: 2 seconds an epoch for `none`, 4 for `full`."""
    return [
        record(
            t.arm,
            t.seed,
            condition=t.condition,
            key=t.key,
            parameters={"schedule.epochs": "325"},
            metrics={
                "test/accuracy": 0.5 + (0.1 + 0.01 * t.seed) * (t.arm == "full"),
                "time/epoch_seconds": 4.0 if t.arm == "full" else 2.0,
                "epoch": 325.0,
            },
        )
        for t in plan.trials
        if t.seed < 3
    ]


def test_before_any_trial_cost_and_power_are_unknown(plan: Plan) -> None:
    known = forecast(plan, [])
    assert (known.done, known.remaining, known.seconds, known.detectable) == (0, 10, None, None)
    assert "5 seeds cannot reach p < 0.05 in a two-sided signed-rank" in known.warnings[0]


def test_what_is_left_is_counted_and_costed(plan: Plan, done: list[TrialRecord]) -> None:
    known = forecast(plan, done)
    assert (known.done, known.remaining, known.guessed) == (6, 4, 0)
    assert known.seconds == pytest.approx(325 * (2 * 2 + 2 * 4))
    assert [*known.counts.values()] == [(5, 3), (5, 3)]


def test_arm_without_a_run_of_its_own_is_guessed(plan: Plan, done: list[TrialRecord]) -> None:
    known = forecast(plan, [r for r in done if r.arm == "none"])
    assert known.guessed == 5


def test_failed_trials_are_left_to_run(plan: Plan, record: MakeRecord) -> None:
    failed = record(key=plan.trials[0].key, outcome=Outcome.FAILED)
    assert forecast(plan, [failed]).remaining == 10


def test_spread_of_the_paired_differences(plan: Plan, done: list[TrialRecord]) -> None:
    # Differences .10, .11, .12.
    assert paired_spread(plan, done) == (pytest.approx(0.01), 2)
    known = forecast(plan, done)
    assert known.detectable == pytest.approx(0.0169, abs=2e-4)


def test_spread_given_counts_for_two_independent_arms(plan: Plan) -> None:
    known = forecast(plan, [], spread=0.01)
    assert known.spread == pytest.approx(0.01 * math.sqrt(2))
    assert known.detectable == pytest.approx(0.0169 * math.sqrt(2), abs=3e-4)
