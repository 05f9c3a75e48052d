"""Records trials, for the tracking store and on the display."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.config.limits import LimitsConfig
from dynaloss.execution.progress import Progress
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.execution.trial.runner import model_file
from dynaloss.studies.identity import effective_config, flatten
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking.study_run import labels_of

if TYPE_CHECKING:
    from dynaloss.studies.trial_record import TrialRecord
    from dynaloss.tracking import Outbox, TrialState


MODEL = "model.safetensors"
"""Name of the artifact that holds a trained classifier."""


class Recorder:
    """Records the trials of one launch; a context manager around the run.

    On leaving it, trials without an end are recorded as interrupted, and the store has it all, or
    has been away for a minute. Nothing slow is done in the caller's loop, in which reports arrive.

    Args:
        outbox: Takes what the store is to have.
        files: Folder of files that wait to become artifacts.
        progress: Display to update.
        trials: Every trial of the launch, looked at when the block ends.
        fresh: Whether a trial gets a new run instead of that of an earlier launch.
        checkpoints: Folder of the trials' checkpoints, in which their classifiers wait.
        limits: Which trials keep what they learned, and their classifier.
        earlier: The trials in the store, which those that end are compared with.
    """

    def __init__(
        self,
        outbox: Outbox,
        files: Path,
        progress: Progress,
        trials: Iterable[LiveTrial],
        *,
        fresh: bool = False,
        checkpoints: Path,
        limits: LimitsConfig | None = None,
        earlier: Iterable[TrialRecord] = (),
    ) -> None:
        self._limits = limits or LimitsConfig()
        self._checkpoints = checkpoints
        self._best: dict[tuple[str, str], float] = {}
        for record in earlier:
            if record.outcome is Outcome.COMPLETED and not fresh:
                value = record.metrics.get(progress.objective.name, math.nan)
                self._is_best((record.condition, record.arm), progress.objective.sign * value)
        self._outbox = outbox
        self._files = files
        self._progress = progress
        self._trials = trials
        self._fresh = fresh
        self._begun: set[str] = set()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="artifacts")
        self._pending: list[Future[None]] = []
        self._was_away = False

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
        self._outbox.flush()

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
        self._outbox.add("log_data", key=live.key, record=live.data)
        self._outbox.add("tag_environment", key=live.key, environment=live.environment)

    def reported(self, live: LiveTrial) -> None:
        """Records the last epoch's metrics."""
        self._add_report(live.key, live.last_epoch, live.metrics)
        self._progress.reported(live)
        self._tell_of_server()

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
        self._outbox.add(
            "begin_trial",
            key=trial.key,
            name=live.name,
            parameters={name: str(value) for name, value in parameters.items()},
            tags=_texts({**live.tags, **labels_of(trial)}),
            fresh=self._fresh,
        )
        self._begun.add(trial.key)
        if live.data:
            self.prepared(live)
        for epoch, metrics in live.reports.items():
            self._add_report(trial.key, epoch, metrics)

    def _add_report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> None:
        self._outbox.add("log_report", key=key, epoch=epoch, metrics=metrics)

    def _write_end(self, live: LiveTrial) -> None:
        # A copy: the caller may drop what it holds of a trial before this is written.
        self._pending.append(self._background.submit(self._end, replace(live)))

    def _end(self, live: LiveTrial) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"{live.key}-", dir=self._files))
        value = self._progress.objective.sign * live.last(self._progress.objective.name)
        is_done = live.outcome is Outcome.COMPLETED  # others neither are the best nor have a model
        is_best = is_done and self._is_best((live.trial.condition, live.trial.arm), value)
        kept = live.diagnostics if self._limits.artifacts == "all" else {}
        if is_best and self._limits.artifacts != "none":
            kept = live.diagnostics
            # Of these only: it takes longer than the rest, and `dynaloss show` draws any.
            write_figures(kept, folder)
        write_artifacts(live.trial, kept, folder)
        model = model_file(self._checkpoints, live.key)
        if is_done and (is_best or self._limits.models == "all") and model.exists():
            shutil.move(model, folder / MODEL)
        if live.outcome is Outcome.FAILED:
            (folder / "error.txt").write_text(live.message, "utf-8")  # the tag is cut
        size = mib_in(folder)
        self._outbox.add("log_artifacts", key=live.key, folder=folder.name)
        if epoch := live.last_epoch:
            self._add_report(live.key, epoch, {"disk/artifacts_mib": size})
        self._outbox.add("tag_trial", key=live.key, tags=_texts(live.tags))
        self._outbox.add(
            "end_trial", key=live.key, outcome=str(live.outcome), message=live.message
        )

    def _is_best(self, place: tuple[str, str], value: float) -> bool:
        """Whether a value is above all that came before it in its condition and arm."""
        is_best = value > self._best.get(place, -math.inf)
        if is_best:
            self._best[place] = value
        return is_best

    def _tell_of_server(self) -> None:
        """Says once that the server is away, and once that it is back."""
        if self._outbox.is_away is self._was_away:
            return
        self._was_away = self._outbox.is_away
        news = (
            f"the tracking server is away: trials go on, their records wait in {self._files}"
            if self._was_away
            else "the tracking server is back"
        )
        self._progress.noted(None, news)


def _texts(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as text, so that they read the same from disk."""
    return {name: str(value) for name, value in tags.items()}


def write_artifacts(trial: Trial, diagnostics: Mapping[str, Any], folder: Path) -> None:
    """Writes the configuration that gave the key, and the diagnostics.

    Args:
        trial: The trial.
        diagnostics: What it learned, by artifact name; empty where it did not end well.
        folder: Where to; exists.
    """
    config = {
        "key": trial.key,
        "seed": trial.seed,
        "base_seed": trial.base_seed,
        "trial": effective_config(trial.config),
    }
    for name, content in {"config": config, **diagnostics}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_figures(diagnostics: Mapping[str, Any], folder: Path) -> None:
    """Writes the figures of a trial; `folder` exists."""
    from dynaloss.analysis.figures import save_figure, trial_figures

    for name, figure in trial_figures(diagnostics).items():
        save_figure(figure, folder / f"{name}.png")


def mib_in(folder: Path) -> float:
    """Size of the files in a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
