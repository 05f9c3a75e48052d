"""Writes trials to the tracking store; what takes its time is written beside the caller's loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.execution.trial.artifacts import mib_in, write_artifacts
from dynaloss.execution.trial.checkpoints import CheckpointFile
from dynaloss.studies.identity import flatten
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.tracking import StudyRun

__all__ = ["TrialWriter"]


class TrialWriter:
    """Writes the trials of one launch.

    Args:
        run: The study in the tracking store.
        checkpoints: Folder of the study's checkpoints.
    """

    def __init__(self, run: StudyRun, checkpoints: Path) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._begun: set[str] = set()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="artifacts")
        self._pending: list[Future[None]] = []

    def has_begun(self, trial: Trial) -> bool:
        """Whether this launch has begun the trial."""
        return trial.key in self._begun

    def begin(
        self,
        trial: Trial,
        name: str,
        *,
        tags: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> None:
        """Starts the trial's run, or takes it up again.

        Args:
            trial: The trial.
            name: Name of the run.
            tags: Further tags.
            fresh: Whether the run of an earlier launch is put aside for a new one.
        """
        self._run.begin_trial(
            key=trial.key,
            name=name,
            condition=trial.condition,
            arm=trial.arm,
            seed=trial.seed,
            parameters=flatten(trial.config) | {"seed": trial.seed, "base_seed": trial.base_seed},
            tags=tags,
            fresh=fresh,
        )
        self._begun.add(trial.key)

    def data(self, trial: Trial, record: Mapping[str, Any]) -> None:
        """Names the trial's data as its inputs; see `TrialSplits.record`."""
        self._later(self._run.log_data, trial.key, record)

    def report(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hands over the metrics of an epoch."""
        self._run.log_report(trial.key, epoch, metrics)

    def end(
        self,
        trial: Trial,
        outcome: Outcome,
        message: str = "",
        *,
        diagnostics: Mapping[str, Any],
        epoch: int | None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes the end of a trial and its artifacts; a final one needs no checkpoint any more.

        Args:
            trial: The trial; has begun.
            outcome: How it ended.
            message: Why, where that is not plain.
            diagnostics: What it learned, by artifact name; empty where it did not end well.
            epoch: The last epoch reported; None before the first.
            tags: Tags to bring up to date.
        """
        self._later(self._end, trial, outcome, message, diagnostics, epoch, tags or {})

    def close(self) -> None:
        """Waits for all that is unwritten.

        Raises:
            StoreError: If some of it could not be written.
        """
        self._background.shutdown(wait=True)
        for pending in self._pending:
            pending.result()

    def _later(self, task: Callable[..., None], *arguments: object) -> None:
        self._pending.append(self._background.submit(task, *arguments))

    def _end(
        self,
        trial: Trial,
        outcome: Outcome,
        message: str,
        diagnostics: Mapping[str, Any],
        epoch: int | None,
        tags: Mapping[str, Any],
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="dynaloss-artifacts-") as name:
            folder = Path(name)
            write_artifacts(trial, diagnostics, folder)
            self._run.log_artifacts(trial.key, folder)
            if epoch is not None:
                self._run.log_report(trial.key, epoch, {"disk/artifacts_mib": mib_in(folder)})
        self._run.tag_trial(trial.key, tags)
        self._run.end_trial(trial.key, outcome, message)
        if outcome.is_final:
            CheckpointFile(self._checkpoints, trial.key).remove()
