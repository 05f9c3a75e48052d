"""The metrics of many trials, written in batches."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final

from dynaloss.tracking.client import Client, StoreAwayError
from dynaloss.tracking.schema import EPOCH, MAX_METRICS, clean_name

LATE: Final = frozenset({"disk/artifacts_mib"})
"""Metrics of an epoch that are known only after its others."""

_NEVER: Final = -(2**63)


class MetricWriter:
    """Writes each value of a (run, metric, epoch) once.

    A report goes into one batch, so that the stored `epoch` never claims more than is stored.
    Metrics of a failed write stay queued for the next one.

    Args:
        client: Connection to the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pending: dict[str, list[Any]] = defaultdict(list)
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
        self._pending[run_id] += new

    def flush(self, run_id: str | None = None) -> None:
        """Write the metrics of a run, or of all, batch by batch; what fails stays queued.

        Raises:
            StoreError: If the store fails; of several errors the first one, at the end.
        """
        errors = []
        for one in [run_id] if run_id else list(self._pending):
            try:
                self._write(one)
            except StoreAwayError:
                raise
            except Exception as error:  # of this run, which was deleted say
                errors.append(error)
        if errors:
            raise errors[0]

    def _write(self, run_id: str) -> None:
        metrics = self._pending[run_id]
        while metrics:
            size = _batch_size(metrics)
            # Writing a part of them twice does no harm: with one time stamp they are one value
            # to MLflow.
            self._client.log_batch(run_id, metrics=metrics[:size])
            del metrics[:size]
        del self._pending[run_id]


def _entities(epoch: int, metrics: Mapping[str, float]) -> list[Any]:
    """The metrics of one epoch as MLflow's entities; `epoch` comes last."""
    from mlflow.entities import Metric

    now = time.time_ns() // 1_000_000
    values = {clean_name(name): float(value) for name, value in metrics.items()}
    values.pop(EPOCH, None)
    values[EPOCH] = float(epoch)
    return [Metric(name, value, now, epoch) for name, value in values.items()]


def _batch_size(metrics: list[Any]) -> int:
    """Number of metrics in the next batch: whole reports, or a part of one beyond the limit."""
    if len(metrics) <= MAX_METRICS:
        return len(metrics)
    ends = (i for i in range(MAX_METRICS, 0, -1) if metrics[i - 1].key == EPOCH)
    return next(ends, MAX_METRICS)
