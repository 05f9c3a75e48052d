"""Reading studies back: their names, plans, tags and trials."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking.addresses import redacted
from dynaloss.tracking.bulk_reading import StoredRun, concurrently, read_history, read_trials
from dynaloss.tracking.client import Client
from dynaloss.tracking.run_writing import find_run
from dynaloss.tracking.schema import RECORD_FIELDS, Tag, outcome_of
from dynaloss.tracking.store import Store

_DIAGNOSTICS: Final = ("corrector", "margins", "confusion", "data")

Curves = Mapping[str, Mapping[int, float]]


def list_studies(store: Store) -> tuple[str, ...]:
    """The names of the studies in the store, the latest used first."""
    return tuple(store.studies())


def read_plan(store: Store, study: str) -> StoredPlan:
    """Plan of the study's last launch; `StoredPlan()` where the store holds none.

    Raises:
        InputError: If the store has no such study.
    """
    run = _study_run(store, study)
    content = {} if run is None else _artifacts(store.client, run, ("plan",))
    return StoredPlan.model_validate(content.get("plan", {}))


def read_tags(store: Store, study: str) -> dict[str, str]:
    """The tags of the study's own run, such as the commit and the versions of its last launch.

    Raises:
        InputError: If the store has no such study.
    """
    run = _study_run(store, study)
    return {} if run is None else _further_tags(run)


def read_records(
    store: Store,
    study: str,
    *,
    metrics: Collection[str] | None = None,
    history: Collection[str] | bool = False,
    diagnostics: Collection[str] | bool = False,
    run_id: str | None = None,
) -> list[TrialRecord]:
    """The study's trials in order of start.

    Args:
        store: The tracking store.
        study: Name of the study.
        metrics: Names of the metrics whose last values are needed; None for all. A tracking
            server sends all.
        history: Names of the metrics whose curves are read; True for all.
        diagnostics: Stems of the JSON artifacts that are read; True for all.
        run_id: Identifier of the one run that is wanted; None for all.

    Raises:
        InputError: If the store has no such study.
    """
    experiment_id = _experiment_id(store, study)
    runs = read_trials(store.client, experiment_id, metrics=metrics)
    if run_id is not None:
        runs = {key: run for key, run in runs.items() if run.run_id == run_id}
    curves: Mapping[str, Curves] = {}
    if history:
        names = None if history is True else history
        curves = read_history(store.client, experiment_id, runs.values(), names)
    contents: Sequence[dict[str, Any]] = [{}] * len(runs)
    if diagnostics:
        stems = _DIAGNOSTICS if diagnostics is True else tuple(diagnostics)
        contents = concurrently(lambda run: _artifacts(store.client, run, stems), runs.values())
    return [
        _record(study, key, run, curves.get(run.run_id, {}), content)
        for (key, run), content in zip(runs.items(), contents, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class StoreReader:
    """The studies of a store, as a query reads them."""

    store: Store

    def studies(self) -> tuple[str, ...]:
        """See `list_studies`."""
        return list_studies(self.store)

    def plan(self, study: str) -> StoredPlan:
        """See `read_plan`."""
        return read_plan(self.store, study)

    def tags(self, study: str) -> dict[str, str]:
        """See `read_tags`."""
        return read_tags(self.store, study)

    def records(
        self,
        study: str,
        *,
        metrics: Collection[str] | None = None,
        history: Collection[str] | bool = False,
        diagnostics: Collection[str] | bool = False,
    ) -> list[TrialRecord]:
        """See `read_records`."""
        return read_records(
            self.store, study, metrics=metrics, history=history, diagnostics=diagnostics
        )


def _experiment_id(store: Store, study: str) -> str:
    studies = store.studies()
    if study in studies:
        return studies[study]
    where = redacted(store.tracking_uri)
    near = get_close_matches(study, studies, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    there = f"it has {', '.join(map(repr, studies))}." if studies else "it has none yet."
    raise InputError(f"There is no study {study!r} in {where}: {there}{hint}")


def _record(
    study: str, key: str, run: StoredRun, curves: Curves, diagnostics: Mapping[str, Any]
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
    )


def _study_run(store: Store, study: str) -> StoredRun | None:
    return find_run(store.client, _experiment_id(store, study), {Tag.ROLE: "study"})


def _further_tags(run: StoredRun) -> dict[str, str]:
    return {name: value for name, value in run.tags.items() if name not in RECORD_FIELDS}


def _artifacts(client: Client, run: StoredRun, stems: Sequence[str]) -> dict[str, Any]:
    """The JSON artifacts of a run by stem, those that there are."""
    address = urlsplit(run.artifact_uri)
    if address.scheme == "file":
        return _read_folder(Path(url2pathname(address.path)), stems)
    present = {item.path for item in client.list_artifacts(run.run_id)}
    with tempfile.TemporaryDirectory() as folder:
        for name in present & {f"{stem}.json" for stem in stems}:
            client.download_artifacts(run.run_id, name, folder)
        return _read_folder(Path(folder), stems)


def _read_folder(folder: Path, stems: Sequence[str]) -> dict[str, Any]:
    """The artifacts in a folder; a file that a kill left half written counts as absent."""
    contents = {}
    for stem in stems:
        try:
            contents[stem] = json.loads((folder / f"{stem}.json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            continue
    return contents
