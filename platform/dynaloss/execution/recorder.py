"""Passes what trials report to the tracking store and to the progress display."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.design.identity import flatten
from dynaloss.design.plan import Trial
from dynaloss.design.record import Outcome
from dynaloss.execution.artifacts import mib_in, write_artifacts
from dynaloss.execution.checkpoints import CheckpointFile
from dynaloss.execution.progress import Progress
from dynaloss.execution.runner import StepResult

if TYPE_CHECKING:
    from dynaloss.tracking import StudyRun

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
    """Records the trials of one launch; artifacts are written beside the caller's loop.

    Args:
        run: The study in the tracking store.
        trials: The trials that are about to run.
        checkpoints: Folder of the study's checkpoints.
        progress: Display to keep up to date.
        fresh: Whether runs of earlier launches are put aside for new ones.
    """

    def __init__(
        self,
        run: StudyRun,
        trials: Iterable[Trial],
        checkpoints: Path,
        progress: Progress,
        *,
        fresh: bool = False,
    ) -> None:
        self._run = run
        self._trials = {trial.key: trial for trial in trials}
        self._checkpoints = checkpoints
        self._progress = progress
        self._fresh = fresh
        self._begun: set[str] = set()
        self._last: dict[str, tuple[int, dict[str, float]]] = {}
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="artifacts")
        self._pending: list[Future[None]] = []
        self.endings: dict[str, Ending] = {}

    def begin(self, key: str) -> None:
        """Notes that a trial starts, or goes on."""
        trial = self._trials[key]
        self._run.begin_trial(
            key=key,
            name=trial.name,
            condition=trial.condition,
            arm=trial.arm,
            seed=trial.seed,
            parameters=flatten(trial.config) | {"seed": trial.seed, "base_seed": trial.base_seed},
            fresh=self._fresh,
        )
        self._begun.add(key)
        self._progress.started(trial)

    def take(self, key: str, result: StepResult) -> bool:
        """Records an epoch's report, and the end of the trial if that is what it was.

        Returns:
            Whether the trial goes on.
        """
        if result.data:
            self._later(self._run.log_data, key, result.data)
        for epoch, metrics in result.reports:
            self._run.log_report(key, epoch, metrics)
            self._last[key] = (epoch, metrics)
            self._progress.reported(self._trials[key], epoch, metrics)
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
        if outcome is Outcome.FAILED and key not in self._begun:
            self.begin(key)
        epoch, metrics = self._last.get(key, (None, {}))
        ending = Ending(outcome=outcome, message=message, epoch=epoch, metrics=metrics)
        self.endings[key] = ending
        self._progress.ended(self._trials[key], ending)
        if key in self._begun:
            self._later(self._store_end, key, diagnostics or {})

    def close(self) -> None:
        """Ends the trials without an end as interrupted and waits for all that is unwritten."""
        for key in self._trials:
            self.end(key, Outcome.INTERRUPTED)
        self._background.shutdown(wait=True)
        for pending in self._pending:
            pending.result()

    def _later(
        self, task: Callable[[str, dict[str, Any]], None], key: str, content: dict[str, Any]
    ) -> None:
        self._pending.append(self._background.submit(task, key, content))

    def _store_end(self, key: str, diagnostics: dict[str, Any]) -> None:
        ending = self.endings[key]
        with tempfile.TemporaryDirectory(prefix="dynaloss-artifacts-") as name:
            folder = Path(name)
            write_artifacts(self._trials[key], diagnostics, folder)
            self._run.log_artifacts(key, folder)
            if ending.epoch is not None:
                size = {"disk/artifacts_mib": mib_in(folder)}
                self._run.log_report(key, ending.epoch, size)
        self._run.end_trial(key, ending.outcome, ending.message)
        if ending.outcome not in (Outcome.INTERRUPTED, Outcome.FAILED):
            CheckpointFile(self._checkpoints, key).remove()
