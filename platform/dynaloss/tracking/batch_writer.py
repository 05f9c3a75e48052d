"""Metrics, parameters and tags of many trials, written in batches."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Final

from dynaloss.tracking.client import Client, StoreAwayError
from dynaloss.tracking.schema import EPOCH, MAX_METRICS, MAX_PAIRS, clean_name

LATE: Final = frozenset({"disk/artifacts_mib"})
"""Metrics of an epoch that are known only after its others."""

_NEVER: Final = -(2**63)


class BatchWriter:
    """Writes each value of a (run, metric, epoch) once, and what else is to be said of a run.

    A report goes into one batch, so that the stored `epoch` never claims more than is stored; of
    a batch MLflow writes parameters first, and tags, such as the outcome, last. What a failed
    write has kept back stays queued for the next one.

    Args:
        client: Connection to the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        # The end of a study is written by the launch, while a thread may write the last records.
        self._lock = threading.Lock()
        self._pending: dict[str, list[Any]] = defaultdict(list)
        self._parameters: dict[str, dict[str, str]] = defaultdict(dict)
        self._tags: dict[str, dict[str, str]] = defaultdict(dict)
        self._stored: dict[str, int] = {}
        self._last: dict[str, dict[str, int]] = defaultdict(dict)

    def resume(self, run_id: str, last_epoch: int | None, late: Collection[str] = ()) -> None:
        """Skip the reports of this run up to the epoch that the store holds already.

        `late` names those metrics of `LATE` that it holds, which come after the epoch's others.
        """
        self._stored[run_id] = _NEVER if last_epoch is None else last_epoch
        self._last[run_id] |= dict.fromkeys((EPOCH, *late), self._stored[run_id])

    def add(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Queue the metrics of one epoch."""
        stored, last = self._stored.get(run_id, _NEVER), self._last[run_id]
        report = _entities(epoch, metrics)
        if LATE.isdisjoint(metrics):
            report = report if epoch > stored else []
        new = [it for it in report if epoch > last.get(it.key, _NEVER)]
        last.update((metric.key, epoch) for metric in new)
        with self._lock:
            self._pending[run_id] += new

    def describe(
        self, run_id: str, parameters: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Queue parameters and tags, in the form that MLflow takes."""
        with self._lock:
            self._parameters[run_id] |= parameters
            self._tags[run_id] |= tags

    def flush(self, run_id: str | None = None) -> None:
        """Write what is queued of a run, or of all, batch by batch; what fails stays queued.

        Raises:
            StoreError: If the store fails; of several errors the first one, at the end.
        """
        errors = []
        with self._lock:
            queued = dict.fromkeys((*self._parameters, *self._pending, *self._tags))
            for one in [run_id] if run_id else queued:
                try:
                    self._write(one)
                except StoreAwayError:
                    raise
                except Exception as error:  # of this run, which was deleted say
                    errors.append(error)
        if errors:
            raise errors[0]

    def _write(self, run_id: str) -> None:
        from mlflow.entities import Param, RunTag

        metrics = self._pending[run_id]
        parameters, tags = self._parameters[run_id], self._tags[run_id]
        while metrics or parameters or tags:
            some, said = ([*islice(pairs.items(), MAX_PAIRS)] for pairs in (parameters, tags))
            size = _batch_size(metrics, MAX_METRICS - len(some) - len(said))
            if size < len(metrics) or len(some) < len(parameters):
                said = []
            batch = {
                "params": [Param(*pair) for pair in some],
                "metrics": metrics[:size],
                "tags": [RunTag(*pair) for pair in said],
            }
            # Writing a part of them twice does no harm: with one time stamp they are one value
            # to MLflow.
            self._client.log_batch(run_id, **{kind: some for kind, some in batch.items() if some})
            del metrics[:size]
            for pairs, written in ((parameters, some), (tags, said)):
                for name, _ in written:
                    del pairs[name]
        del self._pending[run_id], self._parameters[run_id], self._tags[run_id]


def _entities(epoch: int, metrics: Mapping[str, float]) -> list[Any]:
    """The metrics of one epoch as MLflow's entities; `epoch` comes last."""
    from mlflow.entities import Metric

    now = time.time_ns() // 1_000_000
    values = {clean_name(name): float(value) for name, value in metrics.items()}
    values.pop(EPOCH, None)
    values[EPOCH] = float(epoch)
    return [Metric(name, value, now, epoch) for name, value in values.items()]


def _batch_size(metrics: list[Any], most: int) -> int:
    """Number of metrics in the next batch: whole reports, or a part of one beyond the limit."""
    if len(metrics) <= most:
        return len(metrics)
    ends = (i for i in range(most, 0, -1) if metrics[i - 1].key == EPOCH)
    return next(ends, most)
