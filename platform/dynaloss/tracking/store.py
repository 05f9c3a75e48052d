"""The tracking store: starts studies, and reads them back."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking import internals
from dynaloss.tracking.bulk_reading import (
    StoredRun,
    concurrently,
    read_history,
    read_runs,
    read_trials,
)
from dynaloss.tracking.client import Client, StoreError, redacted, sqlite_path
from dynaloss.tracking.run_writing import find_run
from dynaloss.tracking.schema import MAX_NAME, MAX_PAGE, Tag, key_version_of, outcome_of
from dynaloss.tracking.study_run import StudyRun

if TYPE_CHECKING:
    from mlflow.entities import Experiment

# Opens an experiment in MLflow's interface with its runs; otherwise traces come first.
_EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
# Tags that become fields of a trial record.
_RECORD_FIELDS: Final = frozenset(
    {Tag.STUDY, Tag.ROLE, Tag.KEY, Tag.KEY_VERSION, Tag.CONDITION, Tag.ARM, Tag.SEED, Tag.OUTCOME}
)
_DIAGNOSTICS: Final = ("corrector", "margins", "confusion", "data")

_Curves = Mapping[str, Mapping[int, float]]


class Store:
    """A tracking store, open. Reading raises an `InputError` for a study that it does not hold.

    Args:
        tracking_uri: Address of the store.
        artifact_root: Folder of the artifacts of new studies, as a URI; None leaves it to the
            server.
        must_exist: Refuse a SQLite file that is not there instead of making it.

    Raises:
        InputError: If the store is absent, cannot be reached or is damaged.

    Attributes:
        client: The connection; its methods are those of `mlflow.MlflowClient`.
    """

    def __init__(
        self, tracking_uri: str, artifact_root: str | None = None, *, must_exist: bool = False
    ) -> None:
        self.client = Client(tracking_uri, must_exist=must_exist)
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root

    def start_study(self, name: str, *, tags: Mapping[str, Any] | None = None) -> StudyRun:
        """Start or resume a study: its experiment and its parent run, each made once.

        Args:
            name: Name of the study, which is that of the experiment.
            tags: Tags of the parent run, such as the hash of the plan.

        Raises:
            InputError: If the name is empty or too long, or the experiment was deleted.
        """
        experiment_id = self._experiment(name)
        return StudyRun(self.client, name, experiment_id, tags=tags or {})

    def studies(self) -> tuple[str, ...]:
        """Names of the studies, the latest used first."""
        return tuple(self.experiment_ids())

    def plan(self, study: str) -> StoredPlan:
        """Plan of the study's last launch; `StoredPlan()` where the store holds none."""
        run = self._study_run(study)
        content = {} if run is None else _artifacts(self.client, run, ("plan",))
        return StoredPlan.model_validate(content.get("plan", {}))

    def tags(self, study: str) -> dict[str, str]:
        """Tags of the study's own run, such as the commit and the versions of its last launch."""
        run = self._study_run(study)
        return {} if run is None else _further_tags(run)

    def records(
        self,
        study: str,
        *,
        metrics: Collection[str] | None = None,
        history: Collection[str] | bool = False,
        diagnostics: Collection[str] | bool = False,
        run_id: str | None = None,
    ) -> list[TrialRecord]:
        """The study's trials in order of start.

        Args:
            study: Name of the study.
            metrics: Names of the metrics whose last values are needed; None for all. A tracking
                server sends all.
            history: Names of the metrics whose curves are read; True for all.
            diagnostics: Stems of the JSON artifacts that are read; True for all.
            run_id: Identifier of the one run that is wanted; None for all.
        """
        experiment_id = self._experiment_id(study)
        runs = read_trials(self.client, experiment_id, metrics=metrics)
        if run_id is not None:
            runs = {key: run for key, run in runs.items() if run.run_id == run_id}
        curves: Mapping[str, _Curves] = {}
        if history:
            names = None if history is True else history
            curves = read_history(self.client, experiment_id, runs.values(), names)
        contents: Sequence[dict[str, Any]] = [{}] * len(runs)
        if diagnostics:
            stems = _DIAGNOSTICS if diagnostics is True else tuple(diagnostics)
            contents = concurrently(lambda run: _artifacts(self.client, run, stems), runs.values())
        return [
            _record(study, key, run, curves.get(run.run_id, {}), content)
            for (key, run), content in zip(runs.items(), contents, strict=True)
        ]

    def runs(self, study: str) -> list[StoredRun]:
        """Every active run of the study, its own too, in order of start; without metrics."""
        return read_runs(self.client, self._experiment_id(study), metrics=())

    def damage(self) -> list[str]:
        """What is wrong with the file of a SQLite store, one line each."""
        path = sqlite_path(self.tracking_uri)
        return [] if path is None else internals.sqlite_damage(path)

    def moved_studies(self) -> dict[str, str]:
        """Studies whose artifacts do not lie beside a SQLite store that is in its usual place.

        With the address of their artifacts: the folder was moved, or copied, since.
        """
        found = {}
        for name, experiment_id in self.experiment_ids().items():
            location = str(self.client.get_experiment(experiment_id).artifact_location)
            if self._is_elsewhere(location):
                found[name] = location
        return found

    def relocate(self, study: str) -> int:
        """Point a study that was moved to the artifacts beside the store; how many runs it has."""
        experiment_id, path = self._experiment_id(study), sqlite_path(self.tracking_uri)
        former = str(self.client.get_experiment(experiment_id).artifact_location)
        location = f"{self.artifact_root}/{former.rpartition('/')[-1]}"
        if path is None or not self._is_elsewhere(former):
            return 0
        return internals.relocate_sqlite(path, experiment_id, former, location)

    def _is_elsewhere(self, location: str) -> bool:
        path = sqlite_path(self.tracking_uri)
        if path is None or self.artifact_root != (path.parent / "artifacts").as_uri():
            return False
        return location.startswith("file:") and not location.startswith(f"{self.artifact_root}/")

    def experiment_ids(self) -> dict[str, str]:
        """Identifiers of the studies' experiments by name, the latest used first."""
        reader = self.client.reader
        if reader is None:
            pages = self.client.pages(
                "search_experiments", max_results=MAX_PAGE, order_by=["last_update_time DESC"]
            )
            return {it.name: it.experiment_id for it in pages if Tag.STUDY in it.tags}
        rows = self.client.attempt("read studies", lambda: list(reader.experiments(Tag.STUDY)))
        return {name: str(experiment_id) for name, experiment_id in rows}

    def _experiment_id(self, study: str) -> str:
        studies = self.experiment_ids()
        if study in studies:
            return studies[study]
        where = redacted(self.tracking_uri)
        near = get_close_matches(study, studies, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        there = f"it has {', '.join(map(repr, studies))}." if studies else "it has none yet."
        raise InputError(f"There is no study {study!r} in {where}: {there}{hint}")

    def _study_run(self, study: str) -> StoredRun | None:
        return find_run(self.client, self._experiment_id(study), {Tag.ROLE: "study"})

    def _experiment(self, name: str) -> str:
        if not name.strip() or len(name) > MAX_NAME:
            raise InputError(
                f"The name of a study must have 1 to {MAX_NAME} characters, but got {name!r}."
            )
        found = self.client.get_experiment_by_name(name) or self._create_experiment(name)
        if found.lifecycle_stage != "active":
            where = redacted(self.tracking_uri)
            raise InputError(
                f"The experiment {name!r} was deleted in MLflow. Restore it with "
                f"`MLFLOW_TRACKING_URI={where} mlflow experiments restore "
                f"--experiment-id {found.experiment_id}`, or give the study another name."
            )
        if self._is_elsewhere(found.artifact_location):
            raise InputError(
                f"The artifacts of '{name}' are in {found.artifact_location}, not beside the "
                f"store {redacted(self.tracking_uri)}: it was moved, or copied. "
                "`dynaloss doctor --relocate` points it to those beside it."
            )
        if Tag.STUDY not in found.tags:
            self.client.set_experiment_tag(found.experiment_id, Tag.STUDY, name)
        return str(found.experiment_id)

    def _create_experiment(self, name: str) -> Experiment:
        folder = re.sub(r"[^\w\-]+", "-", name, flags=re.ASCII).strip("-") or "study"
        location = self.artifact_root and f"{self.artifact_root}/{folder}"
        tags = {Tag.STUDY: name} | _EXPERIMENT_TAGS
        try:
            self.client.create_experiment(name, artifact_location=location, tags=tags)
        except StoreError as error:  # another launch made it at the same moment
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self.client.get_experiment_by_name(name)


def _record(
    study: str, key: str, run: StoredRun, curves: _Curves, diagnostics: Mapping[str, Any]
) -> TrialRecord:
    return TrialRecord(
        study=study,
        key=key,
        run_id=run.run_id,
        condition=run.tags.get(Tag.CONDITION, ""),
        arm=run.tags.get(Tag.ARM, ""),
        seed=int(run.tags.get(Tag.SEED, 0)),
        outcome=outcome_of(run.tags, run.status),
        parameters=run.parameters,
        metrics=run.metrics,
        history={name: tuple(sorted(curve.items())) for name, curve in sorted(curves.items())},
        diagnostics=diagnostics,
        tags=_further_tags(run),
        key_version=key_version_of(run.tags),
    )


def _further_tags(run: StoredRun) -> dict[str, str]:
    return {name: value for name, value in run.tags.items() if name not in _RECORD_FIELDS}


def _artifacts(client: Client, run: StoredRun, stems: Sequence[str]) -> dict[str, Any]:
    """The JSON artifacts of a run by stem, those that there are."""
    if (place := run.local_artifacts) is not None:
        return _read_folder(place, stems)
    present = {item.path for item in client.list_artifacts(run.run_id)}
    with tempfile.TemporaryDirectory() as folder:
        for name in present & {f"{stem}.json" for stem in stems}:
            client.download_artifacts(run.run_id, name, folder)
        return _read_folder(Path(folder), stems)


def _read_folder(folder: Path, stems: Sequence[str]) -> dict[str, Any]:
    contents = {}
    for stem in stems:
        # A file that a kill left half written counts as absent.
        with suppress(FileNotFoundError, ValueError):
            contents[stem] = json.loads((folder / f"{stem}.json").read_text("utf-8"))
    return contents
