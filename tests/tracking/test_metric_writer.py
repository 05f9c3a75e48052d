from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Store, StoreError, StudyRun
from dynaloss.tracking.metric_writer import MetricWriter

Begin = Callable[..., str]


class Recorder:
    """Stands in for the client: keeps the batches, fails while `error` is set."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Any]]] = []
        self.error: Exception | None = None

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        if self.error:
            raise self.error
        self.batches.append((run_id, metrics))

    def values(self, run_id: str) -> list[tuple[str, int]]:
        return [(m.key, m.step) for run, batch in self.batches if run == run_id for m in batch]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def writer(recorder: Recorder) -> Iterator[MetricWriter]:
    writer = MetricWriter(recorder, interval=3600)
    yield writer
    recorder.error = None
    writer.close()


def eventually(condition: Callable[[], Any]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def test_batches_hold_whole_reports_and_end_with_the_epoch(
    writer: MetricWriter, recorder: Recorder
) -> None:
    # So many metrics wake the writer's own thread, which may else begin before the last report.
    with writer._writing:
        for epoch in range(1, 6):
            writer.add("r", epoch, {f"m{i}": 0.0 for i in range(299)})
    writer.flush("r")
    assert [len(batch) for _, batch in recorder.batches] == [900, 600]
    assert [batch[-1].value for _, batch in recorder.batches] == [3.0, 5.0]


def test_report_larger_than_a_batch_is_split(writer: MetricWriter, recorder: Recorder) -> None:
    writer.add("r", 1, {f"m{i}": 0.0 for i in range(2500)})
    writer.flush("r")
    assert [len(batch) for _, batch in recorder.batches] == [1000, 1000, 501]


def test_full_queue_is_written_before_the_interval(
    writer: MetricWriter, recorder: Recorder
) -> None:
    for run in "ab":
        writer.add(run, 1, {f"m{i}": 0.0 for i in range(600)})
    assert eventually(lambda: len(recorder.batches) == 2)


def test_metrics_are_written_after_the_interval(recorder: Recorder) -> None:
    writer = MetricWriter(recorder, interval=0.05)
    writer.add("r", 1, {"loss": 1.0})
    assert eventually(lambda: recorder.values("r") == [("loss", 1), ("epoch", 1)])
    writer.close()


def test_later_metric_of_the_same_epoch_is_added(writer: MetricWriter, recorder: Recorder) -> None:
    writer.add("r", 1, {"loss": 1.0})
    writer.add("r", 1, {"loss": 2.0, "summary": 3.0})
    writer.flush("r")
    assert recorder.values("r") == [("loss", 1), ("epoch", 1), ("summary", 1)]


def test_stored_epochs_are_skipped(writer: MetricWriter, recorder: Recorder) -> None:
    writer.resume("r", 2)
    for epoch in (1, 2, 3):
        writer.add("r", epoch, {"loss": 1.0})
    writer.flush("r")
    assert recorder.values("r") == [("loss", 3), ("epoch", 3)]


def test_error_is_raised_by_the_next_call_and_nothing_is_lost(recorder: Recorder) -> None:
    writer = MetricWriter(recorder, interval=0.02)
    recorder.error = StoreError("the disk is full")
    writer.add("r", 1, {"loss": 1.0})
    assert eventually(lambda: "r" in writer._errors)
    writer.add("other", 1, {"loss": 1.0})
    with pytest.raises(StoreError, match="the disk is full"):
        writer.add("r", 2, {"loss": 1.0})
    recorder.error = None
    writer.close()
    assert recorder.values("r") == [("loss", 1), ("epoch", 1), ("loss", 2), ("epoch", 2)]
    assert recorder.values("other") == [("loss", 1), ("epoch", 1)]


def test_persistent_error_is_raised_on_close(recorder: Recorder) -> None:
    writer = MetricWriter(recorder, interval=3600)
    writer.add("r", 1, {"loss": 1.0})
    recorder.error = StoreError("the disk is full")
    with pytest.raises(StoreError, match="the disk is full"):
        writer.flush("r")
    with pytest.raises(StoreError, match="the disk is full"):
        writer.close()


def test_closed_writer_refuses_metrics(recorder: Recorder) -> None:
    writer = MetricWriter(recorder)
    writer.close()
    with pytest.raises(RuntimeError, match=r"writer .*closed"):
        writer.add("r", 1, {})


def test_odd_values_and_names_reach_mlflow(store: Store, study: StudyRun, begin: Begin) -> None:
    run_id = begin(study)
    metrics = {"nan": math.nan, "inf": math.inf, "integer": 3, "odd[0]%": 1.0}
    study.log_report("k1", 1, metrics)
    study._writer.flush(run_id)
    stored = store.client.get_run(run_id).data.metrics
    assert math.isnan(stored["nan"])
    assert stored["inf"] > 1e308
    assert (stored["integer"], stored["odd_0__"], stored["epoch"]) == (3.0, 1.0, 1.0)


def test_thousands_of_metrics_reach_mlflow(store: Store, study: StudyRun, begin: Begin) -> None:
    run_id = begin(study)
    for epoch in range(1, 121):
        study.log_report("k1", epoch, {f"m{i}": epoch + i for i in range(25)})
    study._writer.flush(run_id)
    history = store.client.get_metric_history(run_id, "m7")
    assert [(m.step, m.value) for m in history] == [(e, e + 7) for e in range(1, 121)]


def test_deleted_run_does_not_block_other_runs(store: Store, begin: Begin) -> None:
    study = store.start_study("quickstart", interval=0.05)
    gone, kept = begin(study, "gone"), begin(study, "kept")
    store.client.delete_run(gone)
    for key in ("gone", "kept"):
        study.log_report(key, 1, {"loss": 1.0})
    assert eventually(lambda: "loss" in store.client.get_run(kept).data.metrics)
    with pytest.raises(StoreError, match="must be in the 'active' state"):
        study.finish(Outcome.COMPLETED)
    assert store.client.get_run(study.run_id).info.status == "FINISHED"
