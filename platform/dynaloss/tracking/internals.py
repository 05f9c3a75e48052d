"""Every use of names that MLflow does not promise to keep; one contract test covers them.

The client's `search_runs` builds objects for each metric, parameter and tag: 27 s for 10,000
runs of 60 metrics, where the tables take about one; and importing MLflow takes three seconds more
than importing SQLAlchemy alone. A server offers only the client's way.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dynaloss.tracking.schema import NO_TAGS

if TYPE_CHECKING:
    from sqlalchemy import Engine, Select

Point: TypeAlias = tuple[str, str, int, float]
"""Run id, metric, epoch and value."""

_LARGEST: Final = sys.float_info.max
_AT_ONCE: Final = 10_000
_PAIR: Final = ("run_uuid", "key", "value")
_POINT: Final = (*_PAIR, "is_nan", "step")
_RUN: Final = ("run_uuid", "name", "status", "artifact_uri")

# The tables of MLflow's SQL store with the columns that are read.
_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "experiments": ("experiment_id", "name", "lifecycle_stage", "last_update_time"),
    "experiment_tags": ("experiment_id", "key", "value"),
    "runs": (*_RUN, "start_time", "experiment_id", "lifecycle_stage"),
    "tags": _PAIR,
    "params": _PAIR,
    "latest_metrics": _POINT,
    "metrics": (*_POINT, "timestamp"),
}


def check_server(tracking_uri: str) -> None:
    """Ask a tracking server for its health, with MLflow's credentials and proxies.

    The client itself would retry an unreachable server for minutes.

    Raises:
        PermissionError: If the server refuses the credentials.
        ConnectionError: If the server fails.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    status = http_request(
        get_default_host_creds(tracking_uri),
        "/health",
        "GET",
        max_retries=1,
        backoff_factor=1,
        timeout=10,
        raise_on_status=False,
    ).status_code
    if status in {401, 403}:
        raise PermissionError(f"the server refused the credentials (HTTP {status})")
    if status >= 500:
        raise ConnectionError(f"the server answered HTTP {status}")


def make_sqlite(path: Path) -> None:
    """Make a SQLite store with MLflow's tables, and close it."""
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{path}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
    store.engine.dispose()


def sqlite_damage(path: Path) -> list[str]:
    """What SQLite finds wrong with a file, one line each; empty for nothing."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [str(row[0]) for row in connection.execute("pragma integrity_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def relocate_sqlite(path: Path, experiment_id: str, former: str, location: str) -> int:
    """Give an experiment, and its runs, another address of their artifacts.

    Returns the number of runs.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "update experiments set artifact_location = ? where experiment_id = ?",
            (location, int(experiment_id)),
        )
        return connection.execute(
            "update runs set artifact_uri = ? || substr(artifact_uri, ?) "
            "where experiment_id = ? and substr(artifact_uri, 1, ?) = ?",
            (location, len(former) + 1, int(experiment_id), len(former), former),
        ).rowcount


def sql_reader(tracking_uri: str) -> SqlReader | None:
    """Direct access to the tables of an SQL store; None for any other store.

    None also for a database that cannot be opened or has other tables: MLflow's own message for
    these is the better one.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        reader = SqlReader(create_engine(tracking_uri, poolclass=NullPool))
        reader.check()
    except (SQLAlchemyError, ImportError, ValueError):  # no driver, or a malformed address
        return None
    return reader


class SqlReader:
    """Reads experiments and their active runs from the tables of MLflow's SQL store.

    `match` holds tags, with their values, that a run must have to be read.
    """

    def __init__(self, engine: Engine) -> None:
        from sqlalchemy import column, table

        self._engine = engine
        self._tables = {
            name: table(name, *map(column, columns)) for name, columns in _TABLES.items()
        }

    def check(self) -> None:
        """Raise an `SQLAlchemyError` where a table or a column is not as expected."""
        from sqlalchemy import select

        with self._engine.connect() as connection:
            for table in self._tables.values():
                connection.execute(select(*table.c).limit(0))

    def experiments(self, tag: str) -> Iterator[Sequence[Any]]:
        """Name and identifier of the active experiments with this tag, the latest used first."""
        from sqlalchemy import select

        it, tags = self._tables["experiments"], self._tables["experiment_tags"]
        query = select(it.c.name, it.c.experiment_id).where(
            it.c.experiment_id == tags.c.experiment_id,
            it.c.lifecycle_stage == "active",
            tags.c.key == tag,
        )
        return self._rows(query.order_by(it.c.last_update_time.desc(), it.c.experiment_id))

    def runs(self, experiment_id: str, match: Mapping[str, str]) -> Iterator[Sequence[Any]]:
        """Run id, name, status and artifact URI in order of start."""
        query = self._query("runs", _RUN, experiment_id, match)
        run = self._tables["runs"]
        return self._rows(query.order_by(run.c.start_time, run.c.run_uuid))

    def pairs(
        self, table: str, experiment_id: str, match: Mapping[str, str]
    ) -> Iterator[tuple[str, str, str]]:
        """Run id, name and value of every entry of the table `tags` or `params`."""
        query = self._query(table, _PAIR, experiment_id, match)
        return ((run_id, sys.intern(name), value) for run_id, name, value in self._rows(query))

    def metrics(
        self, experiment_id: str, match: Mapping[str, str], names: Collection[str] | None
    ) -> Iterator[Point]:
        """The latest value of each metric, or of those named."""
        return self._points(self._query("latest_metrics", _POINT, experiment_id, match, key=names))

    def history(
        self, experiment_id: str, names: Collection[str] | None, run_id: str | None = None
    ) -> Iterator[Point]:
        """Every value of each metric, or of those named, of all runs or of one.

        In order of step and time.
        """
        only = None if run_id is None else [run_id]
        query = self._query("metrics", _POINT, experiment_id, key=names, run_uuid=only)
        it = self._tables["metrics"]
        return self._points(query.order_by(it.c.step, it.c.timestamp))

    def _points(self, query: Select[Any]) -> Iterator[Point]:
        for run_id, name, value, is_nan, step in self._rows(query):
            yield run_id, sys.intern(name), step, math.nan if is_nan else unbounded(value)

    def _query(
        self,
        table: str,
        columns: Sequence[str],
        experiment_id: str,
        match: Mapping[str, str] = NO_TAGS,
        **among: Collection[str] | None,
    ) -> Select[Any]:
        """Rows of the experiment's active runs whose columns hold one of the values of `among`."""
        from sqlalchemy import select

        it, run = self._tables[table], self._tables["runs"]
        tag = self._tables["tags"].alias("matched")
        query = select(*(it.c[name] for name in columns)).where(
            it.c.run_uuid == run.c.run_uuid,
            run.c.experiment_id == int(experiment_id),
            run.c.lifecycle_stage == "active",
            *(it.c[name].in_([*values]) for name, values in among.items() if values is not None),
        )
        for name, value in match.items():
            matched = select(tag.c.run_uuid).where(tag.c.key == name, tag.c.value == value)
            query = query.where(run.c.run_uuid.in_(matched))
        return query

    def _rows(self, query: Select[Any]) -> Iterator[Sequence[Any]]:
        with self._engine.connect() as connection:
            for rows in connection.execute(query).partitions(_AT_ONCE):
                yield from rows


def unbounded(value: float) -> float:
    """The value that was logged: MLflow's SQL store holds an infinity as the largest float."""
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value
