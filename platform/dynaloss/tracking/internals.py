"""Every use of names that MLflow does not promise to keep; one contract test covers them.

The client's `search_runs` builds objects for each metric, parameter and tag: 27 s for 10,000
runs of 60 metrics, where reading the same tables takes 1.4 s. A server offers only the former.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlTag
    from sqlalchemy import Engine

__all__ = ["Point", "SqlReader", "knock", "sql_reader"]

_LARGEST: Final = sys.float_info.max


class Point(NamedTuple):
    """One value of one metric of one run."""

    run_id: str
    metric: str
    epoch: int
    value: float


def knock(tracking_uri: str, *, timeout: float, retries: int) -> int:
    """The status with which a tracking server answers, credentials and proxies as MLflow's.

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


def sql_reader(client: MlflowClient) -> SqlReader | None:
    """The direct way to the tables of an SQL store; None for a server or another store."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    return SqlReader(store.engine) if isinstance(store, SqlAlchemyStore) else None


class SqlReader:
    """Reads an experiment's active runs from the tables of MLflow's SQL store."""

    def __init__(self, engine: Engine) -> None:
        from mlflow.store.tracking.dbmodels import models

        self._engine = engine
        self._models = models

    def runs(self, experiment_id: str) -> Iterator[Sequence[Any]]:
        """Run id, name, status, start time and artifact URI, in order of start."""
        run = self._models.SqlRun
        columns = (run.run_uuid, run.name, run.status, run.start_time, run.artifact_uri)
        return self._rows(columns, experiment_id, order=(run.start_time, run.run_uuid))

    def tags(self, experiment_id: str) -> Iterator[Sequence[Any]]:
        """Run id, name and value of every tag."""
        tag = self._models.SqlTag
        return self._rows((tag.run_uuid, tag.key, tag.value), experiment_id, of=tag)

    def parameters(self, experiment_id: str) -> Iterator[Sequence[Any]]:
        """Run id, name and value of every parameter."""
        param = self._models.SqlParam
        return self._rows((param.run_uuid, param.key, param.value), experiment_id, of=param)

    def metrics(self, experiment_id: str, names: Iterable[str] | None) -> Iterator[Point]:
        """The latest value of each metric, or of those named."""
        return self._points(self._models.SqlLatestMetric, experiment_id, names)

    def history(self, experiment_id: str, names: Iterable[str] | None) -> Iterator[Point]:
        """Every value of each metric, or of those named, in order of step and time."""
        return self._points(self._models.SqlMetric, experiment_id, names)

    def _points(
        self,
        table: type[SqlLatestMetric | SqlMetric],
        experiment_id: str,
        names: Iterable[str] | None,
    ) -> Iterator[Point]:
        columns = (table.run_uuid, table.key, table.step, table.value, table.is_nan)
        where = () if names is None else (table.key.in_(list(names)),)
        order = (table.step, table.timestamp)
        for run_id, name, step, value, is_nan in self._rows(
            columns, experiment_id, of=table, where=where, order=order
        ):
            yield Point(run_id, name, step, math.nan if is_nan else unbounded(value))

    def _rows(
        self,
        columns: Sequence[Any],
        experiment_id: str,
        *,
        of: type[SqlTag | SqlParam | SqlLatestMetric | SqlMetric] | None = None,
        where: Sequence[Any] = (),
        order: Sequence[Any] = (),
    ) -> Iterator[Sequence[Any]]:
        from sqlalchemy import select

        run = self._models.SqlRun
        query = select(*columns)
        if of is not None:
            query = query.join_from(of, run, of.run_uuid == run.run_uuid)
        active = (run.experiment_id == int(experiment_id), run.lifecycle_stage == "active")
        with self._engine.connect() as connection:
            yield from connection.execute(query.where(*active, *where).order_by(*order))


def unbounded(value: float) -> float:
    """The value that was logged: MLflow's SQL store holds an infinity as the largest float."""
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value
