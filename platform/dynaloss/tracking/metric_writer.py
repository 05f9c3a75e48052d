"""Queues the metrics of many trials, and writes them in batches in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from dynaloss.tracking.client import Client
from dynaloss.tracking.schema import EPOCH, MAX_METRICS, clean_name

_NEVER: Final = -(2**63)


class MetricWriter:
    """Writes each value of a (run, metric, epoch) once, a moment after it was added.

    A report goes into one batch, so that the stored `epoch` never claims more than is stored.
    Metrics of a failed write stay queued for the next one, and the next call for that run, or
    `close`, raises the error.

    Args:
        client: Connection to the store.
        interval: Seconds between two writes.
    """

    def __init__(self, client: Client, *, interval: float = 2.0) -> None:
        self._client = client
        self._interval = interval
        self._pending: dict[str, list[Any]] = defaultdict(list)
        self._stored: dict[str, int] = {}
        self._last: dict[str, dict[str, int]] = defaultdict(dict)
        self._errors: dict[str, Exception] = {}
        # Two locks: `add`, called in the training loop, never waits for the store, while `flush`
        # waits for a batch that the thread has taken from the queue but not yet written.
        self._lock = threading.Lock()  # guards the fields above
        self._writing = threading.Lock()  # held during a write
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="metric-writer", daemon=True)
        self._thread.start()

    def resume(self, run_id: str, last_epoch: int | None) -> None:
        """Skip the reports of this run up to the epoch that the store holds already."""
        with self._lock:
            self._stored[run_id] = _NEVER if last_epoch is None else last_epoch

    def add(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Queue the metrics of one epoch; returns at once.

        Raises:
            RuntimeError: If the writer is closed.
            StoreError: If earlier metrics of this run could not be written yet.
        """
        if self._closed:
            raise RuntimeError("The metric writer is closed.")
        report = _entities(epoch, metrics)
        with self._lock:
            stored, last = self._stored.get(run_id, _NEVER), self._last[run_id]
            new = [it for it in report if epoch > max(stored, last.get(it.key, _NEVER))]
            last.update((metric.key, epoch) for metric in new)
            if new:
                self._pending[run_id] += new
            full = sum(map(len, self._pending.values())) >= MAX_METRICS
            error = self._errors.pop(run_id, None)
        if full:
            self._wake.set()
        if error is not None:
            raise error

    def flush(self, run_id: str) -> None:
        """Return when all metrics of the run are stored; raise where that fails."""
        with self._writing:
            self._write(run_id)

    def close(self) -> None:
        """Write what is queued and end the thread; raise the first error that remains."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        self._drain()  # reports added after the thread's last round, and those that failed in it
        if self._errors:
            raise next(iter(self._errors.values()))

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._interval)
            self._wake.clear()
            self._drain()

    def _drain(self) -> None:
        with self._lock:
            run_ids = list(self._pending)
        for run_id in run_ids:
            with self._writing:
                try:
                    self._write(run_id)
                except Exception as error:
                    with self._lock:
                        self._errors[run_id] = error

    def _write(self, run_id: str) -> None:
        """Write the run's metrics, batch by batch; after a failure the rest stays pending."""
        with self._lock:
            metrics = self._pending.pop(run_id, [])
        try:
            while metrics:
                size = _batch_size(metrics)
                self._client.log_batch(run_id, metrics=metrics[:size])
                del metrics[:size]
        except BaseException:
            # Back to the front, since `epoch` must not run ahead of the other metrics. Writing a
            # part of them twice does no harm: with one time stamp they are one value to MLflow.
            with self._lock:
                self._pending[run_id][:0] = metrics
            raise
        with self._lock:
            self._errors.pop(run_id, None)


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
