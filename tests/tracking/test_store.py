from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Store, StoreError, StudyRun
from dynaloss.tracking.bulk_reading import read_history, read_runs, search_runs
from dynaloss.tracking.client import sqlite_path
from dynaloss.tracking.internals import sql_reader
from dynaloss.tracking.schema import Tag, outcome_of

Begin = Callable[..., str]


@pytest.fixture
def recorded(study: StudyRun, begin: Begin) -> StudyRun:
    """Three trials: one completed, one with odd values, one that has reported nothing."""
    for seed, key in enumerate(("k2", "k1", "k0")):
        begin(study, key, seed=seed, tags={"extra": "x"}, parameters={"lr": 0.1})
    for epoch in (1, 2):
        study.log_report("k2", epoch, {"test/accuracy": epoch / 10, "train/loss": 1.0})
    study.log_report("k1", 1, {"train/loss": math.nan, "norm": -math.inf})
    study.log_dict("k2", "corrector.json", {"weights": [1, 2]})
    study.log_text("k2", "margins.json", '{"half": ')
    study.end_trial("k2", Outcome.COMPLETED)
    study.end_trial("k1", Outcome.DIVERGED)
    return study


def test_records_match_what_was_written_in_order(store: Store, recorded: StudyRun) -> None:
    first, second, third = store.records("quickstart")
    assert [it.key for it in (first, second, third)] == ["k2", "k1", "k0"]
    assert [it.outcome for it in (first, second, third)] == ["completed", "diverged", "running"]
    assert (first.condition, first.arm, first.seed) == ("symmetric 0.4", "full", 0)
    assert first.metrics == {"test/accuracy": 0.2, "train/loss": 1.0, "epoch": 2.0}
    assert first.parameters == {"lr": "0.1"}
    assert first.tags["extra"] == "x"
    assert not {"dynaloss.key", "dynaloss.outcome"} & first.tags.keys()
    assert math.isnan(second.metrics["train/loss"])
    assert second.metrics["norm"] == -math.inf
    assert third.metrics == third.history == third.diagnostics == {}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["test/accuracy"], {"test/accuracy"}),
        (True, {"test/accuracy", "train/loss", "epoch"}),
        (False, set()),
        (["unknown"], set()),
    ],
)
def test_only_requested_histories_are_read(
    store: Store, recorded: StudyRun, asked: list[str] | bool, names: set[str]
) -> None:
    first = store.records("quickstart", history=asked)[0]
    assert first.history.keys() == names
    if "test/accuracy" in names:
        assert first.history["test/accuracy"] == ((1, 0.1), (2, 0.2))


def test_diagnostics_omit_missing_and_broken_files(store: Store, recorded: StudyRun) -> None:
    first, second, _ = store.records("quickstart", diagnostics=True)
    assert first.diagnostics == {"corrector": {"weights": [1, 2]}}
    assert second.diagnostics == {}


def test_unknown_study_suggests_the_nearest_name(store: Store, recorded: StudyRun) -> None:
    assert store.studies() == ("quickstart",)
    with pytest.raises(InputError, match=r"'quikstart'.*'quickstart'.*'quickstart'"):
        store.records("quikstart")


def test_empty_store_is_reported(store: Store) -> None:
    with pytest.raises(InputError, match=r"'quickstart'.*\bnone\b"):
        store.records("quickstart")


@pytest.mark.parametrize(
    ("tag", "status", "outcome"),
    [("odd", "FINISHED", "completed"), ("", "KILLED", "interrupted"), ("pruned", "x", "pruned")],
)
def test_edited_outcome_falls_back_to_the_status(tag: str, status: str, outcome: str) -> None:
    assert outcome_of({"dynaloss.outcome": tag}, status) == outcome


def test_deleted_runs_are_left_out(store: Store, recorded: StudyRun) -> None:
    store.client.delete_run(recorded.trials()["k2"].run_id)
    assert [it.key for it in store.records("quickstart")] == ["k1", "k0"]


def test_tables_and_search_give_the_same_runs(store: Store, recorded: StudyRun) -> None:
    """The contract with MLflow's private names: its own search is the independent truth."""

    assert store.client.reader is not None
    tables = read_runs(store.client, recorded.experiment_id)
    searched = list(search_runs(store.client, recorded.experiment_id))
    assert len(tables) == 4
    for table, search in zip(tables, searched, strict=True):
        for field in ("tags", "parameters", "metrics"):
            assert repr(sorted(getattr(table, field).items())) == repr(
                sorted(getattr(search, field).items())
            )
        assert (table.run_id, table.name, table.status) == (
            search.run_id,
            search.name,
            search.status,
        )
        assert table.artifact_uri == search.artifact_uri


def test_tables_and_search_find_the_same_studies_and_matches(
    store: Store, recorded: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.start_study("another"):
        pass
    store.client.create_experiment("somebody else's")
    store.client.delete_experiment(
        store.client.create_experiment("gone", tags={Tag.STUDY: "gone"})
    )
    match = {Tag.KEY: "k1"}
    direct = store.experiment_ids(), read_runs(store.client, recorded.experiment_id, match=match)
    monkeypatch.setattr(store.client, "reader", None)
    asked = store.experiment_ids(), read_runs(store.client, recorded.experiment_id, match=match)
    assert repr(direct) == repr(asked)
    assert list(direct[0]) == ["another", "quickstart"]
    assert [row.tags[Tag.KEY] for row in direct[1]] == ["k1"]


def test_only_requested_metrics_are_read(store: Store, recorded: StudyRun) -> None:
    first, second, _ = store.records("quickstart", metrics=["test/accuracy"])
    assert (first.metrics, second.metrics) == ({"test/accuracy": 0.2}, {})
    (data,) = {*store.records("quickstart", diagnostics=["corrector"])[0].diagnostics}
    assert data == "corrector"


def test_single_run_is_read_alone(store: Store, recorded: StudyRun) -> None:
    whole = store.records("quickstart", history=True, diagnostics=True)
    for record in whole:
        options = {"history": True, "diagnostics": True, "run_id": record.run_id}
        assert repr(store.records("quickstart", **options)) == repr([record])
    assert store.records("quickstart", run_id="none") == []


def test_study_has_its_plan_and_tags(store: Store, recorded: StudyRun) -> None:
    recorded.log_dict(None, "plan.json", {"metric": "m"})
    assert store.plan("quickstart") == StoredPlan(metric="m")
    tags = store.tags("quickstart")
    assert tags["mlflow.source.type"] == "LOCAL"
    assert not {"dynaloss.role", "dynaloss.study"} & tags.keys()


READ = """
import sys
from dynaloss.tracking import Workspace
store = Workspace(sys.argv[1]).open_store(must_exist=True)
print(*store.studies(), len(store.records("quickstart", history=True)))
store.plan("quickstart")
assert "mlflow" not in sys.modules
"""


def test_sql_store_is_read_without_importing_mlflow(storage: Path, recorded: StudyRun) -> None:
    """Importing MLflow takes longer than reading thousands of trials."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(storage)], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("quickstart 3\n", "")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "mlruns", "file:///mlruns", "odd://x"])
def test_no_other_store_is_read_directly(uri: str) -> None:
    assert sql_reader(uri) is None


def test_unknown_schema_is_left_to_mlflow(storage: Path) -> None:
    with sqlite3.connect(storage / "mlflow.db") as database:
        database.execute("alter table runs rename column artifact_uri to moved")
    database.close()
    assert sql_reader(f"sqlite:///{storage / 'mlflow.db'}") is None


def test_failed_read_gives_one_line(
    store: Store, recorded: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynaloss.tracking.client.time.sleep", lambda seconds: None)
    reading = Store(store.tracking_uri, must_exist=True)
    database = sqlite3.connect(sqlite_path(store.tracking_uri))
    database.execute("alter table params rename to away")
    with pytest.raises(StoreError, match=r"`read runs`: .*no such table: params\.$"):
        reading.records("quickstart")
    database.execute("alter table away rename to params")
    database.close()


def test_tables_and_client_give_the_same_history(
    store: Store, recorded: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = read_runs(store.client, recorded.experiment_id)
    for names in (None, ["test/accuracy"]):
        direct = read_history(store.client, recorded.experiment_id, rows, names)
        with monkeypatch.context() as patched:
            patched.setattr(store.client, "reader", None)
            asked = read_history(store.client, recorded.experiment_id, rows, names)
        assert json.dumps(direct, sort_keys=True) == json.dumps(asked, sort_keys=True)


def test_search_reads_every_page(store: Store, study: StudyRun) -> None:
    made = [
        store.client.create_run(study.experiment_id, start_time=i + 1).info.run_id
        for i in range(25)
    ]
    rows = search_runs(store.client, study.experiment_id, page_size=4)
    assert [row.run_id for row in islice(rows, 25)] == made


def test_a_thousand_trials_are_read(store: Store, study: StudyRun, begin: Begin) -> None:
    """More than one of MLflow's pages, inserted beside MLflow for speed."""
    run_id = begin(study)
    study.log_report("k1", 3, {"loss": 1.0})
    study.end_trial("k1", Outcome.COMPLETED)
    with sqlite3.connect(sqlite_path(store.tracking_uri)) as database:
        for table in ("runs", "tags", "latest_metrics"):
            _copy(database, table, run_id, 1200)
    database.close()
    with store.start_study("quickstart") as again:
        states = again.trials()
    assert len(states) == 1201
    assert {(it.outcome, it.last_epoch) for it in states.values()} == {("completed", 3)}


def _copy(database: sqlite3.Connection, table: str, run_id: str, count: int) -> None:
    cursor = database.execute(f"select * from {table} where run_uuid = ?", (run_id,))
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    for row in rows:
        marks = ", ".join("?" * len(names))
        copies = []
        for number in range(count):
            copy = row | {"run_uuid": f"{number:032}"}
            if copy.get("key") == "dynaloss.key":
                copy["value"] = f"copy{number}"
            copies.append(tuple(copy.values()))
        database.executemany(f"insert into {table} values ({marks})", copies)
