"""Passes what happens in a search to the tracking store and to the display."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from dynaloss.design.identity import flatten
from dynaloss.design.record import Outcome
from dynaloss.execution.checkpoints import CheckpointFile
from dynaloss.execution.progress import clock
from dynaloss.execution.search_director import FINAL, SearchTrial

if TYPE_CHECKING:
    from dynaloss.tracking import StudyRun

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
        self._done += trial.outcome in FINAL
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
    """Records the trials of a search; ends are written beside the caller's loop.

    Args:
        run: The study in the tracking store.
        checkpoints: Folder of the study's checkpoints.
        progress: Display to keep up to date.
    """

    def __init__(self, run: StudyRun, checkpoints: Path, progress: SearchProgress) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._progress = progress
        self._begun: set[str] = set()
        self._lock = threading.Lock()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="artifacts")
        self._pending: list[Future[None]] = []

    def begun(self, trial: SearchTrial) -> None:
        """Starts or takes up the trial's run; what the journal holds of it is written again."""
        tags: dict[str, Any] = {
            GROUP: trial.group.name,
            NUMBER: trial.number,
            SUGGESTED: json.dumps(dict(trial.chosen)),
            AUDITED: trial.audited_at is not None,
            RUNG: trial.last_rung,
        }
        with self._lock:
            self._run.begin_trial(
                key=trial.key,
                name=trial.name,
                condition=trial.trial.condition,
                arm=trial.trial.arm,
                seed=trial.trial.seed,
                parameters=flatten(trial.trial.config)
                | {"seed": trial.trial.seed, "base_seed": trial.trial.base_seed},
                tags=tags,
            )
            for epoch, metrics in trial.reports.items():
                self._run.log_report(trial.key, epoch, metrics)
        self._begun.add(trial.key)

    def reported(self, trial: SearchTrial, epoch: int) -> None:
        """Hands over an epoch's metrics."""
        self._run.log_report(trial.key, epoch, trial.reports[epoch])
        self._progress.reported()

    def ended(self, trial: SearchTrial) -> None:
        """Writes the end of a trial."""
        if trial.key not in self._begun:
            self.begun(trial)
        self._progress.ended(trial)
        self._pending.append(self._background.submit(self._store_end, trial))

    def catch_up(self, trials: Iterable[SearchTrial]) -> None:
        """Writes the ends that a kill kept from the store, each to the trial's one run."""
        states = self._run.trials()
        for trial in trials:
            state = states.get(trial.key)
            stored = state is not None and state.outcome is trial.outcome
            if trial.outcome in FINAL and not stored and trial.key not in self._begun:
                self.begun(trial)
                self._pending.append(self._background.submit(self._store_end, trial))

    def close(self, trials: Iterable[SearchTrial]) -> None:
        """Marks what has not ended as interrupted, and waits for all that is unwritten."""
        for trial in trials:
            if trial.outcome is Outcome.RUNNING:
                trial.outcome = Outcome.INTERRUPTED
                if trial.key in self._begun:
                    self._pending.append(self._background.submit(self._store_end, trial))
        self._background.shutdown(wait=True)
        for pending in self._pending:
            pending.result()

    def _store_end(self, trial: SearchTrial) -> None:
        from dynaloss.analysis.figures import trial_figures

        with self._lock:
            for name, content in trial.diagnostics.items():
                self._run.log_dict(trial.key, f"{name}.json", content)
            for name, figure in trial_figures(trial.diagnostics).items():
                self._run.log_figure(trial.key, f"{name}.png", figure)
            tags = {RUNG: trial.last_rung, AUDITED: trial.audited_at is not None}
            self._run.tag_trial(trial.key, tags)
            self._run.end_trial(trial.key, trial.outcome, trial.message)
        if trial.outcome in FINAL:
            CheckpointFile(self._checkpoints, trial.key).remove()
