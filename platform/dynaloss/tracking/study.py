"""One study in the tracking store: its parent run, and one child run per trial."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking.client import Client
from dynaloss.tracking.datasets import dataset_inputs
from dynaloss.tracking.limits import MAX_NAME, MAX_TAG, cut
from dynaloss.tracking.lineage import source_tags
from dynaloss.tracking.rows import RunRow, trial_rows
from dynaloss.tracking.runs import find_run, make_run, reopen_run, write_parameters, write_tags
from dynaloss.tracking.vocabulary import (
    ARM,
    CONDITION,
    EPOCH,
    KEY,
    MESSAGE,
    NOTE,
    OUTCOME,
    PARENT,
    ROLE,
    SEED,
    STATUS,
    STUDY,
    outcome_of,
)
from dynaloss.tracking.writer import MetricWriter

__all__ = ["StudyRun", "TrialState"]


@dataclass(frozen=True, slots=True)
class TrialState:
    """What the store holds of a trial.

    Attributes:
        run_id: Identifier of its run.
        outcome: How it ended, or `running`.
        last_epoch: The last epoch whose metrics are stored; None before the first.
    """

    run_id: str
    outcome: Outcome
    last_epoch: int | None


class StudyRun:
    """A launch of a study: writes its trials, each into the one run that its key names.

    As a context manager it closes the study as interrupted or failed where the block is left
    by an exception, and leaves a study that was finished within the block as it is.

    Attributes:
        name: Name of the study and of its experiment.
        experiment_id: Identifier of the experiment.
        run_id: Identifier of the parent run.
        was_completed: Whether the launch before this one came to its end.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        experiment_id: str,
        *,
        tags: Mapping[str, Any],
        interval: float = 2.0,
    ) -> None:
        self.name = name
        self.experiment_id = experiment_id
        self._client = client
        self._source = source_tags()
        self._parent, self.was_completed = self._open_parent(tags)
        self.run_id = self._parent.run_id
        self._rows = trial_rows(client, experiment_id, metrics=(EPOCH,))
        self._begun: set[str] = set()
        self._finished = False
        self._writer = MetricWriter(client, interval=interval)

    def __enter__(self) -> StudyRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._finished:
            return
        stopped = kind is not None and not issubclass(kind, Exception)
        outcome = Outcome.INTERRUPTED if stopped or error is None else Outcome.FAILED
        self.finish(outcome, "" if error is None else f"{type(error).__name__}: {error}")

    def trials(self) -> dict[str, TrialState]:
        """The trials by key, in order of start, as the store held them when the study started.

        What this launch has begun, ended or marked since is included.
        """
        return {key: _state(row) for key, row in self._rows.items()}

    def begin_trial(
        self,
        *,
        key: str,
        name: str,
        condition: str,
        arm: str,
        seed: int,
        parameters: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> str:
        """Start or resume the trial's run.

        Args:
            key: Identity of the trial; the run that carries it is taken up again.
            name: Name of the run.
            condition: Label of the data bias.
            arm: Name of the setting of the components.
            seed: Trial seed.
            parameters: Flattened resolved configuration.
            tags: Further tags.
            fresh: Put the run that the trial has aside (deleted, restorable) for a new one.

        Returns:
            The run's identifier.
        """
        wanted = self._source | dict(tags or {}) | _labels(condition, arm, seed)
        wanted |= {STUDY: self.name, ROLE: "trial", KEY: key, PARENT: self.run_id}
        wanted |= {OUTCOME: Outcome.RUNNING}
        row = self._find(key)
        if row is not None and fresh:
            self._client.delete_run(row.run_id)
            row = None
        if row is None:
            row = make_run(self._client, self.experiment_id, name=name, tags=wanted, match=KEY)
        reopen_run(self._client, row, name=name, tags=wanted)
        write_parameters(self._client, row, parameters)
        self._rows[key] = row
        self._begun.add(key)
        self._writer.resume(row.run_id, _state(row).last_epoch)
        return row.run_id

    def log_report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hand over the metrics of one epoch, complete; they are written a moment later.

        Epochs that the run holds already are skipped, so a resumed trial may replay them. NaN
        is stored as such; an SQL store holds an infinity as the largest float, read back as
        infinity.

        Raises:
            StoreError: If earlier metrics of this trial could not be written yet.
        """
        row = self._row(key)
        self._writer.add(row.run_id, epoch, metrics)
        row.metrics[EPOCH] = max(float(epoch), row.metrics.get(EPOCH, float(epoch)))

    def log_text(self, key: str | None, name: str, text: str) -> None:
        """Store a text file with the trial, or with the study where the key is None."""
        self._client.log_text(self._run_id(key), text, name)

    def log_dict(self, key: str | None, name: str, mapping: Mapping[str, Any]) -> None:
        """Store a JSON file; arrays and tensors become lists."""
        self.log_text(key, name, json.dumps(mapping, indent=1, default=_plain))

    def log_artifacts(self, key: str | None, folder: Path) -> None:
        """Store what a folder holds with the trial, or with the study where the key is None."""
        self._client.log_artifacts(self._run_id(key), str(folder))

    def log_study_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, such as the report, with the study's own run."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def log_data(self, key: str, record: Mapping[str, Any]) -> None:
        """Name the trial's data as its inputs, one per role, each with a digest of its content.

        Args:
            key: Identity of the trial.
            record: What was done to the data, as `TrialSplits.record` tells it.
        """
        self._client.log_inputs(self._run_id(key), dataset_inputs(record))

    def set_description(self, markdown: str) -> None:
        """Show this text on the experiment's and the parent run's page."""
        note = cut(markdown, MAX_TAG)
        self._client.set_experiment_tag(self.experiment_id, NOTE, note)
        write_tags(self._client, self._parent, {NOTE: note})

    def update_tags(self, key: str, *, condition: str, arm: str, seed: int, name: str) -> None:
        """Bring a trial's labels and name in line with the plan; writes only what differs."""
        row = self._row(key)
        write_tags(self._client, row, _labels(condition, arm, seed))
        name = cut(name, MAX_NAME)
        if row.name != name:
            self._client.update_run(row.run_id, name=name)
            row.name = name

    def tag_trial(self, key: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a trial; writes only what differs."""
        write_tags(self._client, self._row(key), tags)

    def end_trial(self, key: str, outcome: Outcome, message: str = "") -> None:
        """Write what is left of the trial's metrics, then its end.

        Raises:
            StoreError: If its metrics could not be written; the end is written all the same.
        """
        row = self._row(key)
        try:
            self._writer.flush(row.run_id)
        finally:
            self._end(row, outcome, message)

    def mark_stale(self, keep: Collection[str] = ()) -> tuple[str, ...]:
        """Mark what an earlier launch, killed, left running as interrupted; returns the keys.

        Args:
            keep: Keys of trials to leave as they are, because they go on at once.
        """
        spared = self._begun | set(keep)
        stale = [
            key
            for key, row in self._rows.items()
            if _state(row).outcome is Outcome.RUNNING and key not in spared
        ]
        for key in stale:
            self._end(self._rows[key], Outcome.INTERRUPTED, "The launch ended before the trial.")
        return tuple(stale)

    def finish(self, outcome: Outcome, message: str = "") -> None:
        """Write what is left of all metrics, then the end of the study's run.

        Raises:
            StoreError: If metrics could not be written; the end is written all the same.
        """
        self._finished = True
        try:
            self._writer.close()
        finally:
            self._end(self._parent, outcome, message)

    def _open_parent(self, tags: Mapping[str, Any]) -> tuple[RunRow, bool]:
        wanted = self._source | dict(tags) | {STUDY: self.name, ROLE: "study"}
        wanted |= {OUTCOME: Outcome.RUNNING}
        row = find_run(self._client, self.experiment_id, {ROLE: "study"}) or make_run(
            self._client, self.experiment_id, name=self.name, tags=wanted, match=ROLE
        )
        was_completed = row.tags.get(OUTCOME) == Outcome.COMPLETED
        reopen_run(self._client, row, name=self.name, tags=wanted)
        return row, was_completed

    def _end(self, row: RunRow, outcome: Outcome, message: str) -> None:
        told = {MESSAGE: message} if message else {}
        write_tags(self._client, row, {OUTCOME: outcome} | told)
        self._client.set_terminated(row.run_id, STATUS[outcome])
        row.status = STATUS[outcome]

    def _find(self, key: str) -> RunRow | None:
        """The trial's row; another launch may have made it since this one started."""
        return self._rows.get(key) or find_run(self._client, self.experiment_id, {KEY: key})

    def _row(self, key: str) -> RunRow:
        if key not in self._rows:
            raise ValueError(f"`key` must be that of a trial of the study, but got {key!r}.")
        return self._rows[key]

    def _run_id(self, key: str | None) -> str:
        return self.run_id if key is None else self._row(key).run_id


def _labels(condition: str, arm: str, seed: int) -> dict[str, Any]:
    return {CONDITION: condition, ARM: arm, SEED: seed}


def _state(row: RunRow) -> TrialState:
    epoch = row.metrics.get(EPOCH)
    last_epoch = None if epoch is None else int(epoch)
    return TrialState(row.run_id, outcome_of(row.tags, row.status), last_epoch)


def _plain(value: object) -> object:
    return getattr(value, "tolist", value.__str__)()
