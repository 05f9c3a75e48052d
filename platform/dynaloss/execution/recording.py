"""Passes what trials report to the tracking store and to the progress display."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dynaloss.execution.progress import Progress
from dynaloss.execution.trial.runner import StepResult
from dynaloss.execution.trial_writer import TrialWriter
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome

__all__ = ["Ending", "Recorder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a trial ended.

    Attributes:
        outcome: How.
        message: Why, where that is not plain.
        epoch: The last epoch that this launch heard of; None before the first.
        metrics: That epoch's metrics.
    """

    outcome: Outcome
    message: str = ""
    epoch: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)


class Recorder:
    """Records the trials of one launch.

    Args:
        writer: Writes to the tracking store; closed with the recorder.
        trials: The trials that are about to run.
        progress: Display to keep up to date.
        fresh: Whether runs of earlier launches are put aside for new ones.
    """

    def __init__(
        self,
        writer: TrialWriter,
        trials: Iterable[Trial],
        progress: Progress,
        *,
        fresh: bool = False,
    ) -> None:
        self._writer = writer
        self._trials = {trial.key: trial for trial in trials}
        self._progress = progress
        self._fresh = fresh
        self._last: dict[str, tuple[int, dict[str, float]]] = {}
        self.endings: dict[str, Ending] = {}

    def begin(self, key: str) -> None:
        """Notes that a trial starts, or goes on."""
        trial = self._trials[key]
        self._writer.begin(trial, trial.name, fresh=self._fresh)
        self._progress.started(trial)

    def take(self, key: str, result: StepResult) -> bool:
        """Records an epoch's report, and the end of the trial if that is what it was.

        Returns:
            Whether the trial goes on.
        """
        trial = self._trials[key]
        if result.data:
            self._writer.data(trial, result.data)
        for epoch, metrics in result.reports:
            self._writer.report(trial, epoch, metrics)
            self._last[key] = (epoch, metrics)
            self._progress.reported(trial, epoch, metrics)
        if result.outcome is not None:
            self.end(key, result.outcome, result.message, result.diagnostics)
        return result.outcome is None

    def end(
        self,
        key: str,
        outcome: Outcome,
        message: str = "",
        diagnostics: dict[str, Any] | None = None,
    ) -> None:
        """Records the end of a trial, once."""
        if key in self.endings:
            return
        trial = self._trials[key]
        if outcome is Outcome.FAILED and not self._writer.has_begun(trial):
            self.begin(key)
        epoch, metrics = self._last.get(key, (None, {}))
        ending = Ending(outcome=outcome, message=message, epoch=epoch, metrics=metrics)
        self.endings[key] = ending
        self._progress.ended(trial, ending)
        if self._writer.has_begun(trial):
            self._writer.end(trial, outcome, message, diagnostics=diagnostics or {}, epoch=epoch)

    def close(self) -> None:
        """Ends the trials without an end as interrupted and waits for all that is unwritten."""
        for key in self._trials:
            self.end(key, Outcome.INTERRUPTED)
        self._writer.close()
