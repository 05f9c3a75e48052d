"""Shared by tests of execution, such as a director driven by made-up results."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dynaloss.execution.search.director import Director
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.trial.runner import StepResult, TrialRunner
from dynaloss.journal import Journal
from dynaloss.studies.search.groups import SearchPlan
from dynaloss.studies.trial_record import Outcome


@pytest.fixture
def processes_below() -> Callable[[], dict[int, str]]:
    """Lists the processes that this one has started, and those below them, by command line."""

    def find() -> dict[int, str]:
        parents, commands = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                stat = (folder / "stat").read_text().rpartition(")")[-1].split()
                parents[int(folder.name)] = int(stat[1])
                commands[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        below = {os.getpid()}
        while more := {child for child, parent in parents.items() if parent in below} - below:
            below |= more
        return {pid: commands[pid] for pid in below & commands.keys() if pid != os.getpid()}

    return find


class _Silent:
    def begun(self, trial: SearchTrial) -> None: ...

    def paused(self, trial: SearchTrial) -> None: ...

    def prepared(self, trial: SearchTrial) -> None: ...

    def reported(self, trial: SearchTrial) -> None: ...

    def resumed(self, trial: SearchTrial) -> None: ...

    def noted(self, trial: SearchTrial, notes: Sequence[str]) -> None: ...

    def ended(self, trial: SearchTrial) -> None: ...


@pytest.fixture
def silent() -> _Silent:
    """A recorder that keeps nothing."""
    return _Silent()


@pytest.fixture
def drive(silent: _Silent) -> Callable[..., Director]:
    """Runs a search one trial at a time; killed after so many epochs, it raises Ctrl-C's error.

    As a runner without a checkpoint would, a trial that goes on begins with its first epoch.
    """

    def run(
        plan: SearchPlan,
        folder: Path,
        suggestions: Mapping[str, Any],
        metrics_at: Callable[[SearchTrial, int], dict[str, float]],
        kill_after: int | None = None,
    ) -> Director:
        left = kill_after
        with Journal(folder / "journal.jsonl") as journal:
            director = Director(plan, journal, suggestions)
            director.start(silent)
            for trial in filter(None, director.upcoming()):
                assert trial.outcome is Outcome.RUNNING
                for epoch in range(1, trial.group.epochs + 1):
                    if left == 0:
                        raise KeyboardInterrupt
                    left = None if left is None else left - 1
                    result = StepResult(
                        reports=((epoch, metrics_at(trial, epoch)),),
                        outcome=Outcome.COMPLETED if epoch == trial.group.epochs else None,
                    )
                    if not director.take(trial.key, result):
                        break
        return director

    return run


@pytest.fixture
def fail_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Lets one trial fail after its first epoch, with its checkpoint written."""

    def arrange(error: Exception) -> None:
        step, left = TrialRunner._step, [error]

        def fail(runner: TrialRunner) -> StepResult:
            if runner._history and left:
                runner.save()
                raise left.pop()
            return step(runner)

        monkeypatch.setattr(TrialRunner, "_step", fail)

    return arrange
