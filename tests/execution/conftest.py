"""Shared by the tests of searches: a director driven by made-up results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dynaloss.execution.search.director import Director
from dynaloss.execution.search.journal import Journal
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.trial.runner import StepResult
from dynaloss.studies.search.groups import SearchPlan
from dynaloss.studies.trial_record import Outcome


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
