"""What a plan takes and can show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from dynaloss.analysis.forecast import Pace, TrialCost, forecast, paired_spread
from dynaloss.config import TrialConfig
from dynaloss.studies import AblationStudy, make_plan
from dynaloss.studies.plan import Plan
from dynaloss.studies.trial_record import Outcome, TrialRecord

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
    assert (known.done, known.remaining, known.costs, known.detectable) == (0, 10, None, None)
    assert known.seconds is known.wall_seconds(2) is None
    assert re.search(r"^5 seeds .*\bp < 0\.05 .*two-sided signed-rank ", known.warnings[0])


def test_remaining_trials_are_counted_and_costed(plan: Plan, done: list[TrialRecord]) -> None:
    known = forecast(plan, done)
    assert (known.done, known.remaining, known.guessed) == (6, 4, 0)
    assert known.seconds == pytest.approx(325 * (2 * 2 + 2 * 4))
    assert [*known.counts.values()] == [(5, 3), (5, 3)]


def test_wall_time_is_that_of_trials_begun_in_order(plan: Plan) -> None:
    # Of seed after seed, `none` takes 1 s and `full` 3 s; two at a time:
    # none 0-1, full 0-3, none 1-2, full 2-5, none 3-4, full 4-7, none 5-6, full 6-9, none 7-8,
    # full 8-11.
    probed = {t.key: TrialCost(seconds=3.0 if t.arm == "full" else 1.0) for t in plan.trials}
    known = forecast(plan, [], probed=probed, pace=Pace(around=0, beside_epochs=1))
    assert (known.seconds, known.wall_seconds(1)) == (20, 20)
    assert known.wall_seconds(2) == 11
    assert known.wall_seconds(10) == 3


def test_wall_time_counts_what_a_launch_takes_besides(plan: Plan) -> None:
    tags = {"dynaloss.seconds_around_trials": "12", "dynaloss.time_beside_epochs": "1.5"}
    probed = {trial.key: TrialCost(seconds=1.0) for trial in plan.trials}
    known = forecast(plan, [], probed=probed, pace=Pace.of(tags))
    assert known.wall_seconds(1) == 12 + 1.5 * 10
    assert Pace.of({}) == Pace()


def test_sizes_are_the_largest_recorded(plan: Plan, record: MakeRecord) -> None:
    first = plan.trials[0]
    known = forecast(
        plan,
        [
            record(
                first.arm,
                seed,
                condition=first.condition,
                key=first.key,
                metrics={
                    "time/trial_seconds": 325.0,
                    "memory/peak_mib": 500.0 + seed,
                    "disk/checkpoint_mib": 2.0,
                    "disk/artifacts_mib": 1.0,
                    "epoch": 325.0,
                },
            )
            for seed in (0, 1)
        ],
    )
    assert {cost.peak_mib for cost in known.costs} == {501.0}
    assert known.costs[0].seconds == pytest.approx(325.0)
    # 5 metrics at 325 epochs, 310 bytes each, beside 1 MiB of artifacts.
    assert known.costs[0].stored_mib == pytest.approx(1 + 5 * 325 * 310 / 2**20)


def test_cost_of_an_arm_without_a_run_is_guessed(plan: Plan, done: list[TrialRecord]) -> None:
    known = forecast(plan, [r for r in done if r.arm == "none"])
    assert known.guessed == 5


def test_failed_trials_are_left_to_run(plan: Plan, record: MakeRecord) -> None:
    failed = record(key=plan.trials[0].key, outcome=Outcome.FAILED)
    assert forecast(plan, [failed]).remaining == 10


def test_an_interrupted_trial_costs_its_other_epochs(
    plan: Plan, done: list[TrialRecord], record: MakeRecord
) -> None:
    trial = plan.trials[-1]
    begun = record(
        trial.arm, trial.seed, condition=trial.condition, key=trial.key,
        outcome=Outcome.INTERRUPTED, metrics={"epoch": 100.0, "time/epoch_seconds": 4.0},
    )  # fmt: skip
    whole, rest = (forecast(plan, records).seconds for records in (done, [*done, begun]))
    assert trial.arm == "full"
    assert whole - rest == pytest.approx(100 * 4)


def test_spread_of_the_paired_differences(plan: Plan, done: list[TrialRecord]) -> None:
    # Differences .10, .11, .12.
    assert paired_spread(plan, done) == (pytest.approx(0.01), 2)
    known = forecast(plan, done)
    assert (known.comparisons, known.spread, known.detectable) == (1, pytest.approx(0.01), None)
    six = replace(plan, trials=(*plan.trials, *(replace(t, seed=5) for t in plan.trials[:2])))
    # Six differences are of one sign with a probability of 80 %, see test_power.py.
    known = forecast(six, done, effect=0.0179)
    assert known.detectable == pytest.approx(0.0179, rel=0.05)
    assert known.seeds_needed in (6, 7)


def test_given_spread_is_that_of_two_independent_arms(plan: Plan) -> None:
    known = forecast(plan, [], spread=0.01)
    assert known.spread == pytest.approx(0.01 * math.sqrt(2))
    assert known.seeds_needed is None
