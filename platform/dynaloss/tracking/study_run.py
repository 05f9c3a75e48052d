"""One launch of a study in the tracking store: a parent run, and one child run per trial."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynaloss.studies.identity import KEY_VERSION
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking.batch_writer import LATE, BatchWriter
from dynaloss.tracking.bulk_reading import StoredRun, read_trials
from dynaloss.tracking.client import Client, StoreError
from dynaloss.tracking.lineage import dataset_inputs, environment_tags, source_tags
from dynaloss.tracking.mlflow_views import View
from dynaloss.tracking.run_writing import (
    changed_tags,
    find_run,
    make_run,
    new_parameters,
    rename_run,
    reopen_run,
    write_tags,
)
from dynaloss.tracking.schema import (
    EPOCH,
    MAX_METRICS,
    MAX_NAME,
    MAX_TAG,
    STATUS,
    Tag,
    clean_name,
    cut,
    key_version_of,
    outcome_of,
    tag_values,
)


@dataclass(frozen=True, slots=True)
class TrialState:
    """What the store holds of a trial.

    Attributes:
        run_id: Identifier of its run.
        outcome: How it ended, or `running`.
        last_epoch: The last epoch whose metrics are stored; None before the first.
        key_version: `KEY_VERSION` of its key.
    """

    run_id: str
    outcome: Outcome
    last_epoch: int | None
    key_version: int = KEY_VERSION


class StudyRun:
    """A launch of a study: writes its trials, each into the one run that its key names.

    As a context manager it ends the study as interrupted or failed where an exception leaves the
    block, and does nothing where the study was finished, or left open, within the block.

    Attributes:
        name: Name of the study and of its experiment.
        experiment_id: Identifier of the experiment.
        run_id: Identifier of the parent run.
        was_completed: Whether the previous launch ended normally.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        experiment_id: str,
        *,
        tags: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.experiment_id = experiment_id
        self._client = client
        self._source = source_tags()
        wanted = self._tags("study", tags)
        self._parent = find_run(client, experiment_id, {Tag.ROLE: "study"}) or make_run(
            client, experiment_id, name=name, tags=wanted, match=Tag.ROLE
        )
        self.run_id = self._parent.run_id
        self.was_completed = self._parent.tags.get(Tag.OUTCOME) == Outcome.COMPLETED
        reopen_run(client, self._parent, name=name, tags=wanted)
        self._runs = read_trials(client, experiment_id, metrics=(EPOCH, *LATE))
        self._begun: set[str] = set()
        self._finished = False
        self._writer = BatchWriter(client)
        for run in self._runs.values():
            self._resume(run)

    def __enter__(self) -> StudyRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._finished:
            failed = isinstance(error, Exception)  # Ctrl-C and SystemExit are none
            outcome = Outcome.FAILED if failed else Outcome.INTERRUPTED
            message = "" if error is None else f"{type(error).__name__}: {error}"
            # What has ended the block is not to be hidden by a store that fails as well.
            with suppress(*[StoreError] if error else []):
                self.finish(outcome, message)

    def __contains__(self, key: str) -> bool:
        """Whether the study has a run of the trial with this key."""
        return key in self._runs

    def trials(self) -> dict[str, TrialState]:
        """The trials by key, in order of start: those in the store at the start, and later ones.

        Includes what this launch has begun, ended or marked since.
        """
        return {key: _state(run) for key, run in self._runs.items()}

    def begin_trial(
        self,
        key: str,
        *,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> str:
        """Start the trial's run, or resume the one with its key; return the run's identifier.

        Args:
            key: Key of the trial.
            name: Name of the run.
            parameters: Flattened resolved configuration.
            tags: Further tags, such as `labels_of` the trial.
            fresh: Replace an existing run of the trial by a new one; the old one is deleted, and
                can be restored.
        """
        wanted = self._tags("trial", tags or {})
        wanted |= {Tag.KEY: key, Tag.KEY_VERSION: KEY_VERSION, Tag.PARENT: self.run_id}
        run = self._find(key)
        if run is not None and fresh:
            self._client.delete_run(run.run_id)
            run = None
        if run is None:
            run = make_run(self._client, self.experiment_id, name=name, tags=wanted, match=Tag.KEY)
        reopen_run(self._client, run, name=name, tags=wanted)
        self._writer.describe(run.run_id, *new_parameters(run, parameters))
        self._runs[key] = run
        self._begun.add(key)
        self._resume(run)
        return run.run_id

    def log_report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Queue all the metrics of one epoch, to be written by `flush`, or at the trial's end.

        Skips epochs that the run holds already, so a resumed trial may replay them. NaN is stored
        as such; an SQL store holds an infinity as the largest float, read back as infinity.
        """
        run = self._run(key)
        self._writer.add(run.run_id, epoch, metrics)
        run.metrics[EPOCH] = max(float(epoch), run.metrics.get(EPOCH, float(epoch)))

    def flush(self) -> None:
        """Write all that is queued.

        Raises:
            StoreError: If that fails; they stay queued.
        """
        self._writer.flush()

    def log_text(self, key: str | None, name: str, text: str) -> None:
        """Store a text file with the trial, or with the study where the key is None."""
        self._client.log_text(self._run_id(key), text, name)

    def log_dict(self, key: str | None, name: str, mapping: Mapping[str, Any]) -> None:
        """Store a JSON file; arrays and tensors become lists."""
        self.log_text(key, name, json.dumps(mapping, indent=1, default=_plain))

    def log_artifacts(self, key: str | None, folder: Path) -> None:
        """Store the content of a folder with the trial, or with the study for the key None."""
        run = self._parent if key is None else self._run(key)
        if (place := run.local_artifacts) is None:
            self._client.log_artifacts(run.run_id, str(folder))
            return
        # As MLflow does, which asks the store for the run before. File by file: `copytree` hides
        # the number of an error, such as that of a full disk.
        for path in filter(Path.is_file, folder.rglob("*")):
            target = place / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def log_study_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, such as the report, with the study's own run."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def log_data(self, key: str, record: Mapping[str, Any]) -> None:
        """Store the data of `TrialSplits.record` as the trial's inputs, one per role."""
        self._client.log_inputs(self._run_id(key), dataset_inputs(record))

    def set_description(self, markdown: str) -> None:
        """Show this text on the page of the experiment and on that of the parent run."""
        note = cut(markdown, MAX_TAG)
        self._client.set_experiment_tag(self.experiment_id, Tag.NOTE, note)
        write_tags(self._client, self._parent, {Tag.NOTE: note})

    def log_means(self, means: Mapping[str, float]) -> None:
        """Show these as the metrics of the parent run; those that it no longer has become NaN."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000  # in the steps too: MLflow shows the value of the last
        before = self._client.get_run(self.run_id).data.metrics
        shown = {name: math.nan for name, mean in before.items() if math.isfinite(mean)}
        shown |= {clean_name(name): mean for name, mean in means.items()}
        metrics = [Metric(name, mean, now, now) for name, mean in shown.items()]
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + MAX_METRICS])

    def set_views(self, views: Iterable[View]) -> None:
        """Save the views of the study's page that are new, or have changed."""
        tags = self._client.get_experiment(self.experiment_id).tags
        now = time.time_ns() // 1_000_000
        for name, value in filter(None, (view.tag(tags, now) for view in views)):
            self._client.set_experiment_tag(self.experiment_id, name, value)

    def update_labels(self, trial: Trial) -> None:
        """Match a trial's labels and the name of its run to the plan; writes what differs."""
        write_tags(self._client, self._run(trial.key), labels_of(trial))
        rename_run(self._client, self._run(trial.key), trial.name)

    def tag_trial(self, key: str | None, tags: Mapping[str, Any]) -> None:
        """Queue tags of a trial, or of the study for the key None; writes only what differs."""
        run = self._parent if key is None else self._run(key)
        self._writer.describe(run.run_id, {}, changed_tags(run, tags))

    def tag_environment(self, key: str, environment: Mapping[str, str]) -> None:
        """Queue what a trial computes on; a trial that goes on elsewhere names both."""
        self.tag_trial(key, environment_tags(environment, self._run(key).tags))

    def end_trial(self, key: str, outcome: str, message: str = "") -> None:
        """Write what is queued of the trial, then its outcome.

        Raises:
            StoreError: If that fails; the trial then counts as running.
        """
        self._end(self._run(key), Outcome(outcome), message)

    def mark_stale(self, keep: Collection[str] = ()) -> tuple[str, ...]:
        """Mark as interrupted the trials that a killed launch left running; returns their keys.

        Trials of `keep`, which this launch continues, are left as they are.
        """
        current = self._begun | set(keep)
        stale = tuple(
            key
            for key, run in self._runs.items()
            if _state(run).outcome is Outcome.RUNNING and key not in current
        )
        for run in self._runs.values():
            # A kill between the two writes of an end.
            if (outcome := _state(run).outcome).is_final and run.status == "RUNNING":
                self._client.set_terminated(run.run_id, STATUS[outcome])
                run.status = STATUS[outcome]
        for key in stale:
            self._end(self._runs[key], Outcome.INTERRUPTED, "The launch ended before the trial.")
        return stale

    def finish(self, outcome: Outcome, message: str = "") -> None:
        """Write all that is queued, then the outcome of the study's run.

        Raises:
            StoreError: If something of a trial could not be written; the outcome is all the same.
        """
        self._finished = True
        try:
            self._writer.flush()
        finally:
            self._end(self._parent, outcome, message)

    def leave_open(self) -> None:
        """Leave the study's run as it is: what is still to be written ends it."""
        self._finished = True

    def _resume(self, run: StoredRun) -> None:
        late = LATE & run.metrics.keys()
        self._writer.resume(run.run_id, _state(run).last_epoch, late)

    def _tags(self, role: str, tags: Mapping[str, Any]) -> dict[str, Any]:
        own = {Tag.STUDY: self.name, Tag.ROLE: role, Tag.OUTCOME: Outcome.RUNNING}
        return {**self._source, **tags, **own}

    def _end(self, run: StoredRun, outcome: Outcome, message: str) -> None:
        reason = {Tag.MESSAGE: message} if message else {}
        self._writer.describe(run.run_id, {}, changed_tags(run, {Tag.OUTCOME: outcome} | reason))
        self._writer.flush(run.run_id)
        self._client.set_terminated(run.run_id, STATUS[outcome])
        run.status = STATUS[outcome]

    def _find(self, key: str) -> StoredRun | None:
        """The trial's run; another launch may have made it since this one started."""
        return self._runs.get(key) or find_run(self._client, self.experiment_id, {Tag.KEY: key})

    def _run(self, key: str) -> StoredRun:
        if key not in self._runs:
            raise ValueError(f"`key` must be that of a trial of the study, but got {key!r}.")
        return self._runs[key]

    def _run_id(self, key: str | None) -> str:
        return self.run_id if key is None else self._run(key).run_id


def is_up_to_date(run: StoredRun, trial: Trial) -> bool:
    """Whether the run has the labels and the name that the plan gives the trial."""
    labels = tag_values(labels_of(trial)).items()
    return labels <= run.tags.items() and run.name == cut(trial.name, MAX_NAME)


def labels_of(trial: Trial) -> dict[str, Any]:
    """Tags that place a trial in its study."""
    return {Tag.CONDITION: trial.condition, Tag.ARM: trial.arm, Tag.SEED: trial.seed}


def _state(run: StoredRun) -> TrialState:
    epoch = run.metrics.get(EPOCH)
    last_epoch = None if epoch is None else int(epoch)
    outcome = outcome_of(run.tags, run.status)
    return TrialState(run.run_id, outcome, last_epoch, key_version_of(run.tags))


def _plain(value: object) -> object:
    return getattr(value, "tolist", value.__str__)()
