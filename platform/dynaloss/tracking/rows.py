"""The runs of an experiment as plain rows, read in bulk whatever the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from dynaloss.tracking.client import Client
from dynaloss.tracking.internals import Point, SqlReader, unbounded
from dynaloss.tracking.limits import MAX_PAGE
from dynaloss.tracking.vocabulary import KEY, ROLE

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["RunRow", "concurrently", "read_history", "read_rows", "search_rows", "trial_rows"]

_REQUESTS: Final = 8
_ALL: Final[Mapping[str, str]] = MappingProxyType({})

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class RunRow:
    """One active run: what MLflow knows about it, as plain dictionaries."""

    run_id: str
    name: str
    status: str
    artifact_uri: str
    tags: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run) -> RunRow:
        """The row of one of MLflow's run entities."""
        return cls(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            status=run.info.status,
            artifact_uri=run.info.artifact_uri,
            tags=dict(run.data.tags),
            parameters=dict(run.data.params),
            metrics={name: unbounded(value) for name, value in run.data.metrics.items()},
        )


def trial_rows(
    client: Client, experiment_id: str, *, metrics: Collection[str] | None = None
) -> dict[str, RunRow]:
    """The trials' runs by key, in order of start; of two with one key the first counts."""
    by_key: dict[str, RunRow] = {}
    for row in read_rows(client, experiment_id, metrics=metrics):
        if row.tags.get(ROLE) == "trial" and KEY in row.tags:
            by_key.setdefault(row.tags[KEY], row)
    return by_key


def read_rows(
    client: Client,
    experiment_id: str,
    *,
    match: Mapping[str, str] = _ALL,
    metrics: Collection[str] | None = None,
) -> list[RunRow]:
    """The experiment's active runs in order of start.

    Args:
        client: The connection to the store.
        experiment_id: Identifier of the experiment.
        match: Tags that the runs must have, with their values.
        metrics: Names of the metrics that are needed; None for all. A server sends all.
    """
    if client.reader is None:
        return list(search_rows(client, experiment_id, match=match))
    read = partial(_sql_rows, client.reader, experiment_id, match, metrics)
    return client.attempt("read runs", read)


def search_rows(
    client: Client,
    experiment_id: str,
    *,
    match: Mapping[str, str] = _ALL,
    page_size: int = MAX_PAGE,
) -> Iterator[RunRow]:
    """The runs that MLflow's own search finds, page by page, in order of start."""
    where = _filter(match)
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id],
            where,
            max_results=page_size,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            page_token=token,
        )
        yield from map(RunRow.of, page)
        token = page.token
        if not token:
            return


def read_history(
    client: Client, experiment_id: str, rows: Collection[RunRow], names: Collection[str] | None
) -> dict[str, dict[str, dict[int, float]]]:
    """Per run and metric the value at each epoch; of two values at one epoch the later.

    An SQL store is read at once, beyond the rows too unless there is one alone.
    """
    reader = client.reader
    if reader is not None:
        run_id = next(iter(rows)).run_id if len(rows) == 1 else None
        points = client.attempt(
            "read histories", lambda: list(reader.history(experiment_id, names, run_id))
        )
    else:
        histories = concurrently(lambda row: _history(client, row, names), rows)
        points = [point for history in histories for point in history]
    curves: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for point in points:
        curves[point.run_id][point.metric][point.epoch] = point.value
    return curves


def concurrently(function: Callable[[RunRow], T], rows: Iterable[RunRow]) -> list[T]:
    """The function of each row, several requests to a server at a time."""
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(function, rows))


def _sql_rows(
    reader: SqlReader,
    experiment_id: str,
    match: Mapping[str, str],
    metrics: Collection[str] | None,
) -> list[RunRow]:
    rows = {
        run_id: RunRow(run_id=run_id, name=name or "", status=status, artifact_uri=uri)
        for run_id, name, status, uri in reader.runs(experiment_id, match)
    }
    # A run that was started between two of these reads has no row yet: it is left out.
    for run_id, name, value in reader.tags(experiment_id, match):
        if run_id in rows:
            rows[run_id].tags[name] = value
    for run_id, name, value in reader.parameters(experiment_id, match):
        if run_id in rows:
            rows[run_id].parameters[name] = value
    for point in reader.metrics(experiment_id, match, metrics):
        if point.run_id in rows:
            rows[point.run_id].metrics[point.metric] = point.value
    return list(rows.values())


def _filter(match: Mapping[str, str]) -> str:
    """The tags in the language of MLflow's search."""
    return " and ".join(f"tags.`{name}` = '{value}'" for name, value in match.items())


def _history(client: Client, row: RunRow, names: Collection[str] | None) -> list[Point]:
    wanted = row.metrics.keys() if names is None else row.metrics.keys() & set(names)
    values = [
        value for name in sorted(wanted) for value in client.get_metric_history(row.run_id, name)
    ]
    values.sort(key=lambda value: (value.step, value.timestamp))
    return [Point(row.run_id, it.key, it.step, unbounded(it.value)) for it in values]
