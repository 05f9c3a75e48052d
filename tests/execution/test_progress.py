from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dynaloss.config.search import Objective
from dynaloss.execution.progress import Progress, TimeLeft, cost_of
from dynaloss.execution.progress_file import ProgressFile, clock
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.studies import load_study
from dynaloss.studies.plan import Trial, make_plan
from dynaloss.studies.trial_record import Outcome

ACCURACY = Objective("test/accuracy", "max")


def with_epochs(trial: Trial, **epochs: int) -> Trial:
    schedule = trial.config.schedule.model_copy(update=epochs)
    return replace(trial, config=trial.config.model_copy(update={"schedule": schedule}))


@pytest.fixture(scope="module")
def trials() -> tuple[Trial, ...]:
    plan = make_plan(load_study("quickstart"), {"digits": "digest"})
    return tuple(with_epochs(trial, epochs=10, warmup_epochs=0) for trial in plan.trials[:4])


def progress_of(
    console: Console,
    trials: Sequence[Trial],
    *,
    done: int = 0,
    objective: Objective = ACCURACY,
) -> Progress:
    waiting = [cost_of(trial) for trial in trials]
    return Progress(console, objective, waiting=waiting, done=done, slots=2)


def start(progress: Progress, trial: Trial) -> LiveTrial:
    live = LiveTrial(trial=trial)
    progress.started(live)
    return live


def report(progress: Progress, live: LiveTrial, epoch: int, metrics: dict[str, float]) -> None:
    live.reports[epoch] = metrics
    progress.reported(live)


def end(progress: Progress, live: LiveTrial, outcome: Outcome = Outcome.COMPLETED) -> None:
    live.outcome = outcome
    progress.ended(live)


def test_time_left_is_unknown_before_the_first_epoch(
    trials: tuple[Trial, ...],
) -> None:
    assert TimeLeft(map(cost_of, trials), slots=2).seconds() is None


def test_time_left_counts_each_arm_at_its_own_cost(trials: tuple[Trial, ...]) -> None:
    left = TimeLeft(map(cost_of, trials), slots=2)
    left.observe(trials[0], 5, seconds=1.0)
    left.observe(trials[1], 2, seconds=3.0)
    # 5 epochs at 1 s, 8 at 3 s, and 20 of arms not seen yet at the mean of 2 s, by two.
    assert left.seconds() == pytest.approx((5 * 1 + 8 * 3 + 20 * 2) / 2)


def test_the_last_trial_alone_uses_one_slot(trials: tuple[Trial, ...]) -> None:
    left = TimeLeft(map(cost_of, trials), slots=2)
    left.observe(trials[0], 5, seconds=1.0)
    for trial in trials[1:]:
        left.ended(trial, is_typical=False)
    assert left.seconds() == pytest.approx(5.0)


def test_epochs_after_warmup_are_expected_to_take_longer(trials: tuple[Trial, ...]) -> None:
    first, second = (with_epochs(trial, warmup_epochs=4) for trial in trials[:2])
    left = TimeLeft(map(cost_of, (first, second)), slots=1)
    left.observe(first, 1, seconds=1.0)
    # 3 + 4 epochs of warm-up at 1 s, and 6 + 6 after it at three times that.
    assert left.seconds() == pytest.approx(7 * 1 + 12 * 3)
    left.observe(first, 5, seconds=2.0)
    assert left.seconds() == pytest.approx(4 * 1 + 5 * 2 + 6 * 2)


def test_time_between_trials_is_expected_to_go_on(
    trials: tuple[Trial, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    left = TimeLeft(map(cost_of, trials), slots=2)
    left.started(trials[1])
    for epoch in range(1, 11):
        left.observe(trials[0], epoch, seconds=1.0)
    now += 14  # since the end of the first epoch: 15 s in two slots for 10 s of epochs
    left.ended(trials[0])
    # Thrice as long: the other slot has brought no epoch so far.
    assert left.seconds() == pytest.approx(15 * 2 / 10 * (30 * 1) / 2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (11220, "3:07:00")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_plain_lines_without_a_terminal(trials: tuple[Trial, ...]) -> None:
    output = io.StringIO()
    with progress_of(Console(file=output), trials, done=2) as progress:
        live = start(progress, trials[0])
        report(progress, live, 10, {"test/accuracy": 0.5, "time/epoch_seconds": 1.0})
        end(progress, live)
    assert output.getvalue() == (
        f"[3/6] {trials[0].name}: completed, test/accuracy 50.0 % · about 0:15 left\n"
    )


def test_a_resumed_trial_is_shown_from_where_it_goes_on(
    trials: tuple[Trial, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynaloss.execution.progress._PLAIN_LINE_SECONDS", 0.0)
    output = io.StringIO()
    with progress_of(Console(file=output), trials[:1]) as progress:
        live = start(progress, trials[0])
        live.resumed_from = 6
        for epoch in range(1, 7):
            report(progress, live, epoch, {"time/epoch_seconds": 2.0})
        progress.resumed(live)
        report(progress, live, 7, {"time/epoch_seconds": 2.0})
    name = trials[0].name
    assert output.getvalue().splitlines() == [
        f"[0/1] {name}: resumed from epoch 6/10 · about 0:08 left",
        f"[0/1] running: {name} (epoch 7/10) · about 0:06 left",
    ]


def test_the_best_loss_is_the_lowest(trials: tuple[Trial, ...]) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=200)
    with progress_of(console, trials, objective=Objective("train/loss", "min")) as progress:
        for trial, loss in zip(trials, (0.5, 0.2, 0.9), strict=False):
            live = start(progress, trial)
            report(progress, live, 10, {"train/loss": loss})
            end(progress, live)
    assert f"best so far: train/loss 0.2, {trials[1].name}" in output.getvalue()


def test_the_live_display_shows_running_left_best_and_time(trials: tuple[Trial, ...]) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=200)
    with progress_of(console, trials) as progress:
        first, second = (start(progress, trial) for trial in trials[:2])
        for live in (first, second):
            metrics = {"time/epoch_seconds": 1.0, "test/accuracy": 0.5}
            report(progress, live, 10, metrics)
        end(progress, first)
    text = output.getvalue()
    assert "1 of 4 trials done, 1 running, 2 left" in text
    assert f"best so far: test/accuracy 50.0 %, {trials[0].name}" in text


def test_pruning_shortens_the_trials_to_come(trials: tuple[Trial, ...]) -> None:
    left = TimeLeft(map(cost_of, trials), slots=1)
    left.observe(trials[0], 2, seconds=1.0)
    left.ended(trials[0])
    # Three trials of 10 epochs, of which 2 are trained.
    assert left.seconds() == pytest.approx(3 * 2, rel=0.01)


def test_a_failed_trial_does_not_shorten_the_estimate(trials: tuple[Trial, ...]) -> None:
    output = io.StringIO()
    with progress_of(Console(file=output), trials) as progress:
        live = start(progress, trials[0])
        report(progress, live, 2, {"time/epoch_seconds": 1.0})
        end(progress, live, Outcome.FAILED)
    assert output.getvalue() == (f"[1/4] {trials[0].name}: failed at epoch 2 · about 0:15 left\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_search_shows_its_objective_and_nothing_of_the_test_set(
    trials: tuple[Trial, ...], terminal: bool
) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=200)
    with progress_of(console, trials, objective=Objective("val/accuracy", "max")) as progress:
        live = start(progress, trials[0])
        report(progress, live, 10, {"val/accuracy": 0.5, "test/accuracy": 0.75})
        end(progress, live)
    assert "val/accuracy 50.0 %" in output.getvalue()
    assert "test/" not in output.getvalue()
    assert "0.75" not in output.getvalue()


def test_the_file_says_what_the_display_does(trials: tuple[Trial, ...], tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    waiting = [cost_of(trial) for trial in trials]
    console = Console(file=io.StringIO())
    with Progress(console, ACCURACY, waiting=waiting, done=3, slots=2, path=path) as progress:
        first, second, third = (start(progress, trial) for trial in trials[:3])
        for live, value in ((first, 0.5), (second, 0.75), (third, 0.9)):
            metrics = {"time/epoch_seconds": 1.0, "test/accuracy": value}
            report(progress, live, 10, metrics)
        third.message = "Traceback\nValueError: why"
        for live, outcome in ((second, Outcome.COMPLETED), (third, Outcome.FAILED)):
            end(progress, live, outcome)
    found = ProgressFile.read(path)
    assert found is not None
    assert (found.done, found.total, found.outcomes) == (5, 7, {"completed": 1, "failed": 1})
    assert found.best == {second.trial.condition: (0.75, second.name)}
    assert found.failures == {third.name: "ValueError: why"}
    lines = [*found.lines(is_running=False)]
    assert lines[0].startswith("not running; the trials of the last launch took 0:0")
    assert lines[1] == (
        "5 of 7 trials done (this launch: 1 completed, 1 failed), 0 running, 2 left"
    )
    assert lines[2:] == [
        f"best of {second.trial.condition}: test/accuracy 75.0 %, {second.name}",
        f"failed: {third.name}: ValueError: why",
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_damaged_file_of_progress_says_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "progress.json"
    path.write_text(content)
    assert ProgressFile.read(path) is None
