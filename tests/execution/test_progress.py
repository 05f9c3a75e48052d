from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from dynaloss.execution.progress import Progress, TimeLeft, clock
from dynaloss.execution.recording import Ending
from dynaloss.studies import load_study
from dynaloss.studies.plan import Trial, make_plan
from dynaloss.studies.trial_record import Outcome


@pytest.fixture(scope="module")
def trials() -> tuple[Trial, ...]:
    plan = make_plan(load_study("quickstart"), {"digits": "digest"})
    return tuple(
        replace(
            trial,
            config=trial.config.model_copy(
                update={"schedule": trial.config.schedule.model_copy(update={"epochs": 10})}
            ),
        )
        for trial in plan.trials[:4]
    )


def test_nothing_is_said_of_the_time_left_before_the_first_epoch(
    trials: tuple[Trial, ...],
) -> None:
    assert TimeLeft(trials, slots=2).seconds() is None


def test_time_left_counts_each_arm_at_its_own_cost(trials: tuple[Trial, ...]) -> None:
    left = TimeLeft(trials, slots=2)
    left.observe(trials[0], 5, seconds=1.0)
    left.observe(trials[1], 2, seconds=3.0)
    # 5 epochs at 1 s, 8 at 3 s, and 20 of arms not seen yet at the mean of 2 s, by two.
    assert left.seconds() == pytest.approx((5 * 1 + 8 * 3 + 20 * 2) / 2)


def test_the_last_trial_alone_uses_one_slot(trials: tuple[Trial, ...]) -> None:
    left = TimeLeft(trials, slots=2)
    left.observe(trials[0], 5, seconds=1.0)
    for trial in trials[1:]:
        left.ended(trial)
    assert left.seconds() == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (11220, "3:07:00")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_plain_lines_where_the_output_is_no_terminal(trials: tuple[Trial, ...]) -> None:
    output = io.StringIO()
    with Progress(
        Console(file=output), trials, done=2, slots=2, metric="test/accuracy"
    ) as progress:
        progress.started(trials[0])
        progress.reported(trials[0], 10, {"test/accuracy": 0.5, "time/epoch_seconds": 1.0})
        progress.ended(
            trials[0], Ending(outcome=Outcome.COMPLETED, metrics={"test/accuracy": 0.5})
        )
    assert output.getvalue() == (
        f"[3/6] {trials[0].name}: completed, test/accuracy 0.5 · about 0:15 left\n"
    )


def test_of_a_loss_the_lowest_is_the_best(trials: tuple[Trial, ...]) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=200)
    with Progress(console, trials, done=0, slots=2, metric="train/loss") as progress:
        for trial, loss in zip(trials, (0.5, 0.2, 0.9), strict=False):
            progress.started(trial)
            progress.ended(trial, Ending(outcome=Outcome.COMPLETED, metrics={"train/loss": loss}))
    assert f"best so far: train/loss 0.2, {trials[1].name}" in output.getvalue()


def test_the_live_display_shows_running_left_best_and_time(trials: tuple[Trial, ...]) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=200)
    with Progress(console, trials, done=0, slots=2, metric="test/accuracy") as progress:
        for trial in trials[:2]:
            progress.started(trial)
            progress.reported(trial, 10, {"time/epoch_seconds": 1.0})
        progress.ended(
            trials[0], Ending(outcome=Outcome.COMPLETED, metrics={"test/accuracy": 0.5})
        )
    text = output.getvalue()
    assert "1 of 4 trials done, 1 running, 2 left" in text
    assert f"best so far: test/accuracy 0.5, {trials[0].name}" in text
