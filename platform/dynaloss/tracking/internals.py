"""Every use of names that MLflow does not promise to keep; one contract test covers them.

The client's `search_runs` builds objects for each metric, parameter and tag: 27 s for 10,000
runs of 60 metrics, where the tables take about one; and importing MLflow takes three seconds more
than importing SQLAlchemy alone. A server offers only the client's way.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dynaloss.tracking.addresses import is_sql

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Engine, TableClause

    _Conditions = tuple[ColumnElement[bool], ...]

_LARGEST: Final = sys.float_info.max
_AT_ONCE: Final = 10_000
_PAIR: Final = ("run_uuid", "key", "value")
_POINT: Final = (*_PAIR, "is_nan", "step", "timestamp")
_RUN: Final = ("run_uuid", "name", "status", "artifact_uri")

# The tables of MLflow's SQL store with the columns that are read.
_TABLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "experiments": ("experiment_id", "name", "lifecycle_stage", "last_update_time"),
        "experiment_tags": ("experiment_id", "key", "value"),
        "runs": (*_RUN, "start_time", "experiment_id", "lifecycle_stage"),
        "tags": _PAIR,
        "params": _PAIR,
        "latest_metrics": _POINT,
        "metrics": _POINT,
    }
)


class Point(NamedTuple):
    """One value of one metric of one run."""

    run_id: str
    metric: str
    epoch: int
    value: float


def health_status(tracking_uri: str, *, timeout: float, retries: int) -> int:
    """HTTP status of a tracking server's health check, with MLflow's credentials and proxies.

    The client itself would retry an unreachable server for minutes.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    response = http_request(
        get_default_host_creds(tracking_uri),
        "/health",
        "GET",
        max_retries=retries,
        backoff_factor=1,
        timeout=timeout,
        raise_on_status=False,
    )
    return int(response.status_code)


def sql_reader(tracking_uri: str) -> SqlReader | None:
    """Direct access to the tables of an SQL store.

    Returns:
        The reader; None for a server or another store, and for a database that cannot be opened
        or has other tables, for which MLflow has the better message.
    """
    if not is_sql(tracking_uri):
        return None
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        reader = SqlReader(create_engine(tracking_uri, poolclass=NullPool))
        reader.check()
    except (SQLAlchemyError, ImportError):  # the latter where the database's driver is missing
        return None
    return reader


class SqlReader:
    """Reads experiments and their active runs from the tables of MLflow's SQL store.

    `match` holds tags, with their values, that a run must have to be read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check(self) -> None:
        """Raise an `SQLAlchemyError` where a table or a column is not as expected."""
        from sqlalchemy import select

        with self._engine.connect() as connection:
            for table in self._tables.values():
                connection.execute(select(*table.c).limit(0))

    def experiments(self, tag: str) -> Iterator[Sequence[Any]]:
        """Name and identifier of the active experiments with this tag, the latest used first."""
        it, tags = self._tables["experiments"], self._tables["experiment_tags"]
        where = (
            it.c.experiment_id == tags.c.experiment_id,
            it.c.lifecycle_stage == "active",
            tags.c.key == tag,
        )
        order = (it.c.last_update_time.desc(), it.c.experiment_id)
        return self._select((it.c.name, it.c.experiment_id), where, order)

    def runs(self, experiment_id: str, match: Mapping[str, str]) -> Iterator[Sequence[Any]]:
        """Run id, name, status and artifact URI in order of start."""
        run = self._tables["runs"]
        where = self._active(experiment_id, match)
        order = (run.c.start_time, run.c.run_uuid)
        return self._select([run.c[name] for name in _RUN], where, order)

    def pairs(
        self, table: str, experiment_id: str, match: Mapping[str, str]
    ) -> Iterator[Sequence[Any]]:
        """Run id, name and value of every entry of the table `tags` or `params`."""
        it = self._tables[table]
        where = self._of(it, experiment_id, match)
        for run_id, name, value in self._select([it.c[name] for name in _PAIR], where):
            yield run_id, sys.intern(name), value

    def metrics(
        self, experiment_id: str, match: Mapping[str, str], names: Collection[str] | None
    ) -> Iterator[Point]:
        """The latest value of each metric, or of those named."""
        table = self._tables["latest_metrics"]
        return self._points(table, self._of(table, experiment_id, match), names)

    def history(
        self, experiment_id: str, names: Collection[str] | None, run_id: str | None = None
    ) -> Iterator[Point]:
        """Every value of each metric, or of those named, in order of step and time.

        Of all runs, or of one.
        """
        table = self._tables["metrics"]
        where = self._of(table, experiment_id, {})
        if run_id is not None:
            where = (*where, table.c.run_uuid == run_id)
        return self._points(table, where, names, order=(table.c.step, table.c.timestamp))

    @cached_property
    def _tables(self) -> dict[str, TableClause]:
        from sqlalchemy import column, table

        return {name: table(name, *map(column, columns)) for name, columns in _TABLES.items()}

    def _points(
        self,
        table: TableClause,
        where: _Conditions,
        names: Collection[str] | None,
        order: Sequence[Any] = (),
    ) -> Iterator[Point]:
        it = table.c
        if names is not None:
            where = (*where, it.key.in_([*names]))
        columns = (it.run_uuid, it.key, it.step, it.value, it.is_nan)
        for run_id, name, step, value, is_nan in self._select(columns, where, order):
            number = math.nan if is_nan else unbounded(value)
            yield Point(run_id, sys.intern(name), step, number)

    def _of(self, table: TableClause, experiment_id: str, match: Mapping[str, str]) -> _Conditions:
        run = self._tables["runs"]
        return (table.c.run_uuid == run.c.run_uuid, *self._active(experiment_id, match))

    def _active(self, experiment_id: str, match: Mapping[str, str]) -> _Conditions:
        from sqlalchemy import select

        run, tag = self._tables["runs"], self._tables["tags"].alias("matched")
        matched = [
            select(tag.c.run_uuid).where(tag.c.key == name, tag.c.value == value)
            for name, value in match.items()
        ]
        return (
            run.c.experiment_id == int(experiment_id),
            run.c.lifecycle_stage == "active",
            *(run.c.run_uuid.in_(run_ids) for run_ids in matched),
        )

    def _select(
        self, columns: Sequence[Any], where: _Conditions, order: Sequence[Any] = ()
    ) -> Iterator[Sequence[Any]]:
        from sqlalchemy import select

        query = select(*columns).where(*where).order_by(*order)
        with self._engine.connect() as connection:
            for rows in connection.execute(query).partitions(_AT_ONCE):
                yield from rows


def unbounded(value: float) -> float:
    """The value that was logged: MLflow's SQL store holds an infinity as the largest float."""
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value
