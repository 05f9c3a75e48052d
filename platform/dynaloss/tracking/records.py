"""The trials of a study as records, for the comparison."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking.client import Client
from dynaloss.tracking.location import redacted
from dynaloss.tracking.rows import RunRow, concurrently, read_history, trial_rows
from dynaloss.tracking.runs import find_run
from dynaloss.tracking.store import Store
from dynaloss.tracking.vocabulary import ARM, CONDITION, IDENTITY, ROLE, SEED, outcome_of

__all__ = ["list_studies", "read_plan", "read_records", "read_tags"]

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
    row = _study_row(store, study)
    content = {} if row is None else _artifacts(store.client, row, ("plan",))
    return StoredPlan.model_validate(content.get("plan", {}))


def read_tags(store: Store, study: str) -> dict[str, str]:
    """The tags of the study's own run, such as the commit and the versions of its last launch.

    Raises:
        InputError: If the store has no such study.
    """
    row = _study_row(store, study)
    return {} if row is None else _further_tags(row)


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
    rows = trial_rows(store.client, experiment_id, metrics=metrics)
    if run_id is not None:
        rows = {key: row for key, row in rows.items() if row.run_id == run_id}
    curves: Mapping[str, Curves] = {}
    if history:
        names = None if history is True else history
        curves = read_history(store.client, experiment_id, rows.values(), names)
    contents: Sequence[dict[str, Any]] = [{}] * len(rows)
    if diagnostics:
        stems = _DIAGNOSTICS if diagnostics is True else tuple(diagnostics)
        contents = concurrently(lambda row: _artifacts(store.client, row, stems), rows.values())
    return [
        _record(study, key, row, curves.get(row.run_id, {}), content)
        for (key, row), content in zip(rows.items(), contents, strict=True)
    ]


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
    study: str, key: str, row: RunRow, curves: Curves, diagnostics: Mapping[str, Any]
) -> TrialRecord:
    return TrialRecord(
        study=study,
        key=key,
        run_id=row.run_id,
        condition=row.tags.get(CONDITION, ""),
        arm=row.tags.get(ARM, ""),
        seed=int(row.tags.get(SEED, 0)),
        outcome=outcome_of(row.tags, row.status),
        parameters=row.parameters,
        metrics=row.metrics,
        history={name: tuple(sorted(curve.items())) for name, curve in sorted(curves.items())},
        diagnostics=diagnostics,
        tags=_further_tags(row),
    )


def _study_row(store: Store, study: str) -> RunRow | None:
    return find_run(store.client, _experiment_id(store, study), {ROLE: "study"})


def _further_tags(row: RunRow) -> dict[str, str]:
    return {name: value for name, value in row.tags.items() if name not in IDENTITY}


def _artifacts(client: Client, row: RunRow, stems: Sequence[str]) -> dict[str, Any]:
    """The JSON artifacts of a run by stem, those that there are."""
    address = urlsplit(row.artifact_uri)
    if address.scheme == "file":
        return _read_folder(Path(url2pathname(address.path)), stems)
    present = {item.path for item in client.list_artifacts(row.run_id)}
    with tempfile.TemporaryDirectory() as folder:
        for name in present & {f"{stem}.json" for stem in stems}:
            client.download_artifacts(row.run_id, name, folder)
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
