from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Store, StoreError, StudyRun
from dynaloss.tracking.batch_writer import BatchWriter

Begin = Callable[..., str]


class Recorder:
    """Stands in for the client: keeps the batches, fails for one run while `error` is set."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Any]]] = []
        self.error: Exception | None = None
        self.failing = ""

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        if self.error and run_id == self.failing:
            raise self.error
        self.batches.append((run_id, metrics))

    def values(self, run_id: str) -> list[tuple[str, int]]:
        return [(m.key, m.step) for run, batch in self.batches if run == run_id for m in batch]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def writer(recorder: Recorder) -> BatchWriter:
    return BatchWriter(recorder)


def test_batches_hold_whole_reports_and_end_with_the_epoch(
    writer: BatchWriter, recorder: Recorder
) -> None:
    for epoch in range(1, 6):
        writer.add("r", epoch, {f"m{i}": 0.0 for i in range(299)})
    writer.flush("r")
    assert [len(batch) for _, batch in recorder.batches] == [900, 600]
    assert [batch[-1].value for _, batch in recorder.batches] == [3.0, 5.0]


def test_report_larger_than_a_batch_is_split(writer: BatchWriter, recorder: Recorder) -> None:
    writer.add("r", 1, {f"m{i}": 0.0 for i in range(2500)})
    writer.flush("r")
    assert [len(batch) for _, batch in recorder.batches] == [1000, 1000, 501]


def test_later_metric_of_the_same_epoch_is_added(writer: BatchWriter, recorder: Recorder) -> None:
    writer.add("r", 1, {"loss": 1.0})
    writer.add("r", 1, {"loss": 2.0, "summary": 3.0})
    writer.flush("r")
    assert recorder.values("r") == [("loss", 1), ("epoch", 1), ("summary", 1)]


def test_stored_epochs_are_skipped(writer: BatchWriter, recorder: Recorder) -> None:
    writer.resume("r", 2)
    for epoch in (1, 2, 3):
        writer.add("r", epoch, {"loss": 1.0})
    writer.flush("r")
    assert recorder.values("r") == [("loss", 3), ("epoch", 3)]


def test_what_fails_stays_queued_and_does_not_keep_other_runs_back(
    writer: BatchWriter, recorder: Recorder
) -> None:
    recorder.error, recorder.failing = StoreError("the run was deleted"), "gone"
    for run in ("gone", "kept"):
        writer.add(run, 1, {"loss": 1.0})
    with pytest.raises(StoreError, match="the run was deleted"):
        writer.flush()
    assert recorder.values("kept") == [("loss", 1), ("epoch", 1)]
    recorder.error = None
    writer.add("gone", 2, {"loss": 1.0})
    writer.flush()
    writer.flush()  # nothing is left
    assert recorder.values("gone") == [("loss", 1), ("epoch", 1), ("loss", 2), ("epoch", 2)]
    assert len(recorder.batches) == 2


def test_parameters_come_first_and_tags_last() -> None:
    calls: list[dict[str, int]] = []

    class Client:
        def log_batch(self, run_id: str, **kinds: list[Any]) -> None:
            calls.append({kind: len(entities) for kind, entities in kinds.items()})

    writer = BatchWriter(Client())
    writer.describe("r", {f"p{i}": "1" for i in range(130)}, {f"t{i}": "1" for i in range(130)})
    for epoch in range(1, 5):
        writer.add("r", epoch, {f"m{i}": 0.0 for i in range(299)})
    writer.flush()
    # Of MLflow's 1,000 entities in a batch, 100 parameters and 100 tags.
    assert calls == [
        {"params": 100, "metrics": 600},
        {"params": 30, "metrics": 600, "tags": 100},
        {"tags": 30},
    ]


def test_odd_values_and_names_reach_mlflow(store: Store, study: StudyRun, begin: Begin) -> None:
    run_id = begin(study)
    metrics = {"nan": math.nan, "inf": math.inf, "integer": 3, "odd[0]%": 1.0}
    study.log_report("k1", 1, metrics)
    study.flush()
    stored = store.client.get_run(run_id).data.metrics
    assert math.isnan(stored["nan"])
    assert stored["inf"] > 1e308
    assert (stored["integer"], stored["odd_0__"], stored["epoch"]) == (3.0, 1.0, 1.0)


def test_thousands_of_metrics_reach_mlflow(store: Store, study: StudyRun, begin: Begin) -> None:
    run_id = begin(study)
    for epoch in range(1, 121):
        study.log_report("k1", epoch, {f"m{i}": epoch + i for i in range(25)})
    study.flush()
    history = store.client.get_metric_history(run_id, "m7")
    assert [(m.step, m.value) for m in history] == [(e, e + 7) for e in range(1, 121)]


def test_deleted_run_does_not_block_other_runs(store: Store, begin: Begin) -> None:
    study = store.start_study("quickstart")
    gone, kept = begin(study, "gone"), begin(study, "kept")
    store.client.delete_run(gone)
    for key in ("gone", "kept"):
        study.log_report(key, 1, {"loss": 1.0})
    with pytest.raises(StoreError, match="must be in the 'active' state"):
        study.finish(Outcome.COMPLETED)
    assert "loss" in store.client.get_run(kept).data.metrics
    assert store.client.get_run(study.run_id).info.status == "FINISHED"
