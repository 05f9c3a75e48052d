"""Records trials in the tracking store and on the display."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.execution.progress import Progress
from dynaloss.execution.trial.checkpoints import CheckpointFile
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.studies.identity import effective_config, flatten
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.tracking import StudyRun, TrialState


class Recorder:
    """Records the trials of one launch; a context manager around the run.

    On leaving it, trials without an end are recorded as interrupted, and all pending writes are
    waited for. Slow writes are made in the background: reports arrive in the caller's loop.

    Args:
        run: The study in the tracking store.
        checkpoints: Folder of the study's checkpoints.
        progress: Display to update.
        trials: Every trial of the launch, looked at when the block ends.
        fresh: Whether a trial gets a new run instead of that of an earlier launch.
    """

    def __init__(
        self,
        run: StudyRun,
        checkpoints: Path,
        progress: Progress,
        trials: Iterable[LiveTrial],
        *,
        fresh: bool = False,
    ) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._progress = progress
        self._trials = trials
        self._fresh = fresh
        self._begun: set[str] = set()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="artifacts")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        """Raises StoreError if something could not be written."""
        for live in self._trials:
            if live.outcome is Outcome.RUNNING:
                live.outcome = Outcome.INTERRUPTED
                if live.key in self._begun:
                    self._write_end(live)
        self._background.shutdown(wait=True)
        for pending in self._pending:
            pending.result()

    def begun(self, live: LiveTrial) -> None:
        """Starts the trial's run, or resumes that of an earlier launch, with all that is known."""
        if live.key not in self._begun:
            self._begin(live)
        self._progress.started(live)

    def paused(self, live: LiveTrial) -> None:
        """Shows that a trial waits; its run stays open."""
        self._progress.paused(live)

    def prepared(self, live: LiveTrial) -> None:
        """Names the trial's data as its inputs, and what it computes on."""
        self._later(self._run.log_data, live.key, live.data)
        self._later(self._run.tag_environment, live.key, live.environment)

    def reported(self, live: LiveTrial) -> None:
        """Records the last epoch's metrics."""
        self._run.log_report(live.key, live.last_epoch, live.metrics)
        self._progress.reported(live)

    def resumed(self, live: LiveTrial) -> None:
        """Shows where a trial goes on; the epochs before have been reported."""
        self._progress.resumed(live)

    def noted(self, live: LiveTrial | None, notes: Iterable[str]) -> None:
        """Shows what the user has to know of a trial, or of the launch."""
        for text in notes:
            self._progress.noted(live, text)

    def ended(self, live: LiveTrial) -> None:
        """Records the end of a trial."""
        if live.key not in self._begun:
            self._begin(live)
        self._progress.ended(live)
        self._write_end(live)

    def catch_up(self, states: Mapping[str, TrialState]) -> None:
        """Writes the ends that a kill kept from the store, whose `states` by key are given."""
        for live in self._trials:
            state = states.get(live.key)
            is_stored = state is not None and state.outcome is live.outcome
            if live.outcome.is_final and not is_stored and live.key not in self._begun:
                self._begin(live)
                self._write_end(live)

    def _begin(self, live: LiveTrial) -> None:
        trial = live.trial
        parameters = flatten(trial.config) | {"seed": trial.seed, "base_seed": trial.base_seed}
        self._run.begin_trial(
            trial, name=live.name, parameters=parameters, tags=live.tags, fresh=self._fresh
        )
        self._begun.add(trial.key)
        if live.data:
            self.prepared(live)
        for epoch, metrics in live.reports.items():
            self._run.log_report(trial.key, epoch, metrics)

    def _write_end(self, live: LiveTrial) -> None:
        # A copy: the caller may drop what it holds of a trial before this is written.
        self._later(self._end, replace(live))

    def _later(self, task: Callable[..., None], *arguments: object) -> None:
        self._pending.append(self._background.submit(task, *arguments))

    def _end(self, live: LiveTrial) -> None:
        with tempfile.TemporaryDirectory(prefix="dynaloss-artifacts-") as name:
            folder = Path(name)
            write_artifacts(live.trial, live.diagnostics, folder)
            if live.outcome is Outcome.FAILED:
                (folder / "error.txt").write_text(live.message, "utf-8")  # the tag is cut
            self._run.log_artifacts(live.key, folder)
            if epoch := live.last_epoch:
                self._run.log_report(live.key, epoch, {"disk/artifacts_mib": mib_in(folder)})
        self._run.tag_trial(live.key, live.tags)
        self._run.end_trial(live.key, live.outcome, live.message)
        if live.outcome.is_final:
            CheckpointFile(self._checkpoints, live.key).remove()


def write_artifacts(trial: Trial, diagnostics: Mapping[str, Any], folder: Path) -> None:
    """Writes the configuration that gave the key, the diagnostics and their figures.

    Args:
        trial: The trial.
        diagnostics: What it learned, by artifact name; empty where it did not end well.
        folder: Where to; exists.
    """
    from dynaloss.analysis.figures import save_figure, trial_figures

    config = {
        "key": trial.key,
        "seed": trial.seed,
        "base_seed": trial.base_seed,
        "trial": effective_config(trial.config),
    }
    for name, content in {"config": config, **diagnostics}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    for name, figure in trial_figures(diagnostics).items():
        save_figure(figure, folder / f"{name}.png")


def mib_in(folder: Path) -> float:
    """Size of the files in a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
