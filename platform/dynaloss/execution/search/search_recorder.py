"""Passes what happens in a search to the tracking store and to the display."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from dynaloss.execution.progress import clock
from dynaloss.execution.search.director import SearchTrial
from dynaloss.execution.trial_writer import TrialWriter
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.tracking import TrialState

__all__ = ["SearchProgress", "SearchRecorder"]

GROUP, NUMBER = "dynaloss.group", "dynaloss.number"
SUGGESTED, RUNG, AUDITED = "dynaloss.suggested", "dynaloss.rung", "dynaloss.audited"


class SearchProgress:
    """A line per trial that ends, with the time left; shows validation only, never the test.

    Args:
        console: Where to print.
        metric: The first objective.
        total: Trials of the whole search.
    """

    def __init__(self, console: Console, metric: str, *, total: int) -> None:
        self._console = console
        self._metric = metric
        self._total, self._done = total, 0
        self._epochs = 0
        self._lengths: list[int] = []
        self._started = time.monotonic()

    def expect(self, *, left: int) -> None:
        """Takes in how many trials this launch has to run."""
        self._total = max(self._total, left)
        self._done = self._total - left
        self._started = time.monotonic()

    def reported(self) -> None:
        """Counts an epoch."""
        self._epochs += 1

    def ended(self, trial: SearchTrial) -> None:
        """Says how a trial ended."""
        self._done += trial.outcome.is_final
        self._lengths.append(trial.last_epoch)
        value = trial.last(self._metric)
        audited = f", audited at {trial.audited_at}" if trial.audited_at else ""
        where = f" at epoch {trial.last_epoch}" if trial.outcome is not Outcome.COMPLETED else ""
        text = (
            f"[{self._done}/{self._total}] {trial.name}: {trial.outcome}{where}{audited}, "
            f"{self._metric} {value:.4g}{self._left()}"
        )
        self._console.print(Text(text), soft_wrap=True)

    def _left(self) -> str:
        """What is left at the pace of this launch, if trials stay as long as they were."""
        trials = self._total - self._done
        pace = (time.monotonic() - self._started) / max(1, self._epochs)
        begun = max(0, self._epochs - sum(self._lengths))
        epochs = max(1.0, trials * statistics.fmean(self._lengths) - begun)
        return f" · about {clock(pace * epochs)} left" if trials else ""


class SearchRecorder:
    """Records the trials of a search.

    Args:
        writer: Writes to the tracking store; closed with the recorder.
        progress: Display to keep up to date.
    """

    def __init__(self, writer: TrialWriter, progress: SearchProgress) -> None:
        self._writer = writer
        self._progress = progress

    def begun(self, trial: SearchTrial) -> None:
        """Starts or takes up the trial's run; what the journal holds of it is written again."""
        fixed: dict[str, Any] = {
            GROUP: trial.group.name,
            NUMBER: trial.number,
            SUGGESTED: json.dumps(dict(trial.chosen)),
        }
        self._writer.begin(trial.trial, trial.name, tags=fixed | _state_tags(trial))
        if trial.data:
            self.prepared(trial)
        for epoch in trial.reports:
            self._writer.report(trial.trial, epoch, trial.reports[epoch])

    def prepared(self, trial: SearchTrial) -> None:
        """Names the trial's data."""
        self._writer.data(trial.trial, trial.data)

    def reported(self, trial: SearchTrial, epoch: int) -> None:
        """Hands over an epoch's metrics."""
        self._writer.report(trial.trial, epoch, trial.reports[epoch])
        self._progress.reported()

    def ended(self, trial: SearchTrial) -> None:
        """Writes the end of a trial."""
        if not self._writer.has_begun(trial.trial):
            self.begun(trial)
        self._progress.ended(trial)
        self._write_end(trial)

    def catch_up(self, trials: Iterable[SearchTrial], states: Mapping[str, TrialState]) -> None:
        """Writes the ends that a kill kept from the store, each to the trial's one run.

        Args:
            trials: The trials of the search.
            states: What the store holds, by key.
        """
        for trial in trials:
            state = states.get(trial.key)
            stored = state is not None and state.outcome is trial.outcome
            if trial.outcome.is_final and not (stored or self._writer.has_begun(trial.trial)):
                self.begun(trial)
                self._write_end(trial)

    def close(self, trials: Iterable[SearchTrial]) -> None:
        """Marks what has not ended as interrupted, and waits for all that is unwritten."""
        for trial in trials:
            if trial.outcome is Outcome.RUNNING:
                trial.outcome = Outcome.INTERRUPTED
                if self._writer.has_begun(trial.trial):
                    self._write_end(trial)
        self._writer.close()

    def _write_end(self, trial: SearchTrial) -> None:
        self._writer.end(
            trial.trial,
            trial.outcome,
            trial.message,
            diagnostics=trial.diagnostics,
            epoch=trial.last_epoch or None,
            tags=_state_tags(trial),
        )


def _state_tags(trial: SearchTrial) -> dict[str, Any]:
    """Tags that tell how far a trial has come."""
    return {RUNG: trial.last_rung, AUDITED: trial.audited_at is not None}
