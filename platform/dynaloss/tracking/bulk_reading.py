"""The runs of an experiment with all that MLflow holds of them, read in bulk from any store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dynaloss.tracking.client import Client
from dynaloss.tracking.internals import Point, SqlReader, unbounded
from dynaloss.tracking.schema import MAX_PAGE, NO_TAGS, Tag, outcome_of

if TYPE_CHECKING:
    from mlflow.entities import Run

_REQUESTS: Final = 8

_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class StoredRun:
    """An active run: what MLflow holds of it, as plain dictionaries."""

    run_id: str
    name: str
    status: str
    artifact_uri: str
    tags: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether a later launch leaves the trial of this run alone."""
        return outcome_of(self.tags, self.status).is_final

    @property
    def local_artifacts(self) -> Path | None:
        """Folder of its artifacts, where they lie on a disk that is named."""
        address = urlsplit(self.artifact_uri)
        return Path(url2pathname(address.path)) if address.scheme == "file" else None

    @classmethod
    def of(cls, run: Run) -> StoredRun:
        """The content of one of MLflow's run entities."""
        return cls(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            status=run.info.status,
            artifact_uri=run.info.artifact_uri,
            tags=dict(run.data.tags),
            parameters=dict(run.data.params),
            metrics={name: unbounded(value) for name, value in run.data.metrics.items()},
        )


def read_trials(
    client: Client, experiment_id: str, *, metrics: Collection[str] | None = None
) -> dict[str, StoredRun]:
    """The trials' runs by key, in order of start; of two with one key the first counts."""
    by_key: dict[str, StoredRun] = {}
    for run in read_runs(client, experiment_id, metrics=metrics):
        if run.tags.get(Tag.ROLE) == "trial" and Tag.KEY in run.tags:
            by_key.setdefault(run.tags[Tag.KEY], run)
    return by_key


def read_runs(
    client: Client,
    experiment_id: str,
    *,
    match: Mapping[str, str] = NO_TAGS,
    metrics: Collection[str] | None = None,
) -> list[StoredRun]:
    """The experiment's active runs with the tags of `match`, in order of start.

    Of their metrics those named, or all: a server sends all.
    """
    if client.reader is None:
        return list(search_runs(client, experiment_id, match=match))
    read = partial(_from_tables, client.reader, experiment_id, match, metrics)
    return client.attempt("read runs", read)


def search_runs(
    client: Client,
    experiment_id: str,
    *,
    match: Mapping[str, str] = NO_TAGS,
    page_size: int = MAX_PAGE,
) -> Iterator[StoredRun]:
    """The runs that MLflow's own search finds, page by page, in order of start."""
    where = " and ".join(f"tags.`{name}` = '{value}'" for name, value in match.items())
    pages = client.pages(
        "search_runs",
        experiment_ids=[experiment_id],
        filter_string=where,
        max_results=page_size,
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    return map(StoredRun.of, pages)


def read_history(
    client: Client, experiment_id: str, runs: Collection[StoredRun], names: Collection[str] | None
) -> dict[str, dict[str, dict[int, float]]]:
    """Per run and metric the value at each epoch; of two values at one epoch the later.

    An SQL store is read at once, and gives other runs of the experiment too unless one alone is
    asked for.
    """
    points: Iterable[Point]
    if (reader := client.reader) is not None:
        run_id = next(iter(runs)).run_id if len(runs) == 1 else None
        points = client.attempt(
            "read histories", lambda: list(reader.history(experiment_id, names, run_id))
        )
    else:
        points = chain(*concurrently(lambda run: _history(client, run, names), runs))
    curves: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for run_id, metric, epoch, value in points:
        curves[run_id][metric][epoch] = value
    return curves


def concurrently(function: Callable[[StoredRun], _T], runs: Iterable[StoredRun]) -> list[_T]:
    """The function's result for each run, from several requests to a server at a time."""
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(function, runs))


def _from_tables(
    reader: SqlReader,
    experiment_id: str,
    match: Mapping[str, str],
    metrics: Collection[str] | None,
) -> list[StoredRun]:
    runs = {
        run_id: StoredRun(run_id=run_id, name=name or "", status=status, artifact_uri=uri)
        for run_id, name, status, uri in reader.runs(experiment_id, match)
    }
    # A run that was started between two of these reads is left out.
    for run_id, name, text in reader.pairs("tags", experiment_id, match):
        if run_id in runs:
            runs[run_id].tags[name] = text
    for run_id, name, text in reader.pairs("params", experiment_id, match):
        if run_id in runs:
            runs[run_id].parameters[name] = text
    for run_id, name, _, value in reader.metrics(experiment_id, match, metrics):
        if run_id in runs:
            runs[run_id].metrics[name] = value
    return list(runs.values())


def _history(client: Client, run: StoredRun, names: Collection[str] | None) -> list[Point]:
    wanted = run.metrics.keys() if names is None else run.metrics.keys() & set(names)
    values = [
        value for name in sorted(wanted) for value in client.get_metric_history(run.run_id, name)
    ]
    values.sort(key=lambda value: (value.step, value.timestamp))
    return [(run.run_id, it.key, it.step, unbounded(it.value)) for it in values]
