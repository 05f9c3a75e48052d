"""Writes trial records into MLflow's SQLite tables past its API: thousands a second.

For made-up records only, to measure and to test what reads them.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import uuid4

from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking import Workspace
from dynaloss.tracking.schema import STATUS, Tag

__all__ = ["write_records"]

_Row = dict[str, Any]


def write_records(
    folder: Path,
    study: str,
    records: Iterable[TrialRecord],
    *,
    plan: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """A study with these trials, in order, in the store of a storage folder.

    Args:
        folder: Storage folder; its store is made where there is none.
        study: Name of the study, which must be new.
        records: The trials; study and run id that they name are not looked at.
        plan: What `plan.json` of the study holds; none is written without.
        tags: Tags of the study's own run.
    """
    with Workspace(folder).open_store().start_study(study, tags=tags) as started:
        experiment, parent = started.experiment_id, started.run_id
        if plan is not None:
            started.log_dict(None, "plan.json", plan)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        names = [column[1] for column in database.execute("PRAGMA table_info(runs)")]
        values = database.execute("SELECT * FROM runs WHERE run_uuid = ?", (parent,)).fetchone()
        template = dict(zip(names, values, strict=True)) | {"experiment_id": int(experiment)}
        for place, record in enumerate(records):
            _write(database, template, study, record, place)
        database.commit()


def _write(
    database: sqlite3.Connection, template: _Row, study: str, record: TrialRecord, place: int
) -> None:
    run_id = uuid4().hex
    run = {
        "run_uuid": run_id,
        "name": record.key,
        "status": STATUS[record.outcome],
        "start_time": place,
        "artifact_uri": str(template["artifact_uri"]).replace(template["run_uuid"], run_id),
    }
    identity = {
        Tag.STUDY: study,
        Tag.ROLE: "trial",
        Tag.KEY: record.key,
        Tag.CONDITION: record.condition,
        Tag.ARM: record.arm,
        Tag.SEED: str(record.seed),
        Tag.OUTCOME: str(record.outcome),
    }
    _insert(database, "runs", [template | run])
    _insert(database, "tags", _pairs(run_id, {**identity, **record.tags}))
    _insert(database, "params", _pairs(run_id, record.parameters))
    latest = [_point(run_id, name, value, 40) for name, value in record.metrics.items()]
    _insert(database, "latest_metrics", latest)
    history = [
        _point(run_id, name, value, epoch)
        for name, curve in record.history.items()
        for epoch, value in curve
    ]
    _insert(database, "metrics", history)
    if record.diagnostics:
        _write_artifacts(run["artifact_uri"], record.diagnostics)


def _pairs(run_id: str, values: Mapping[str, str]) -> list[_Row]:
    return [{"key": key, "value": value, "run_uuid": run_id} for key, value in values.items()]


def _point(run_id: str, name: str, value: float, epoch: int) -> _Row:
    is_nan = math.isnan(value)
    return {
        "key": name,
        "value": 0.0 if is_nan else value,
        "is_nan": int(is_nan),
        "timestamp": 0,
        "step": epoch,
        "run_uuid": run_id,
    }


def _write_artifacts(uri: str, diagnostics: Mapping[str, Any]) -> None:
    folder = Path(url2pathname(urlsplit(uri).path))
    folder.mkdir(parents=True)
    for stem, content in diagnostics.items():
        (folder / f"{stem}.json").write_text(json.dumps(content), "utf-8")


def _insert(database: sqlite3.Connection, table: str, rows: list[_Row]) -> None:
    if rows:
        columns, marks = ", ".join(rows[0]), ", ".join("?" for _ in rows[0])
        statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
        database.executemany(statement, [tuple(row.values()) for row in rows])
