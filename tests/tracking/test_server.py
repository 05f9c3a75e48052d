"""Against MLflow's own server, started by `serve_ui` on a free port."""

from __future__ import annotations

import math
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dynaloss.errors import InputError
from dynaloss.execution.publish import publish_report
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Store, StudyRun

Begin = Callable[..., str]
Served = tuple[str, subprocess.Popen[bytes]]
Serve = Callable[[], Served]

DATA = {
    "source": "digits",
    "digest": "d",
    "tail_digest": "t",
    "noise_digest": "n",
    "split_digests": {"train": "a" * 64},
    "splits": {"train": 100, "test": 20},
    "flip_rate": 0.4,
    "true_class_counts": [50, 50],
    "observed_class_counts": [60, 40],
}


@pytest.fixture
def serve(storage: Path, serve_store: Callable[..., Served]) -> Serve:
    """Starts a server, the same one each time, and returns once it answers."""
    # What lies in the working folder is none of the server's modules.
    (storage / "random.py").write_text("raise SystemExit('imported')")
    return lambda: serve_store(f"sqlite:///{storage / 'mlflow.db'}", storage)


@pytest.fixture
def server(serve: Serve) -> Served:
    """The address of a server, and its process."""
    return serve()


def test_a_study_on_a_server(server: Served, begin: Begin, tmp_path: Path) -> None:
    uri, process = server
    store = Store(uri)
    with store.start_study("remote · é") as study:
        study.set_description("# hi")
        begin(study, parameters={f"p{i}": i for i in range(150)} | {"empty": ""})
        for epoch in (1, 2):
            study.log_report("k1", epoch, {"loss": 1 / epoch, "nan": math.nan})
        study.log_dict("k1", "corrector.json", {"w": [1]})
        study.log_data("k1", DATA)
        (tmp_path / "figures").mkdir()
        (tmp_path / "figures" / "curves.png").write_bytes(b"png")
        study.log_artifacts(None, tmp_path)
        study.end_trial("k1", Outcome.PRUNED, "rung 1")
        study.finish(Outcome.COMPLETED)
    (record,) = Store(uri).records("remote · é", history=True, diagnostics=True)
    assert record.outcome is Outcome.PRUNED
    assert record.history["loss"] == ((1, 1.0), (2, 0.5))
    assert math.isnan(record.metrics["nan"])
    assert record.diagnostics == {"corrector": {"w": [1]}}
    assert len(record.parameters) == 151
    inputs = store.client.get_run(record.run_id).inputs.dataset_inputs
    assert [(it.dataset.digest, it.tags[0].value) for it in inputs] == [("a" * 16, "train")]
    found = [it.path for it in store.client.list_artifacts(study.run_id, "figures")]
    assert found == ["figures/curves.png"]
    with store.start_study("remote · é") as again:
        assert again.trials()["k1"].last_epoch == 2
        assert begin(again) == record.run_id

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    with pytest.raises(InputError, match=rf"store {uri} .*opened.*server runs"):
        Store(uri)


ARMS = {"none": 0.5, "full": 0.75}
PLAN = {
    "study": "remote · é",
    "hash": "0123abcd",
    "metric": "test/accuracy",
    "baseline": "none",
    "arms": [*ARMS],
    "conditions": ["symmetric 0.4"],
    "seeds": [0, 1],
    "keys": [f"{arm}-{seed}" for arm in ARMS for seed in (0, 1)],
    "repeats": [],
    "components": ["margin"],
    "notes": [],
    "deviations": ["seeds added: 1."],
}


def _run_trials(study: StudyRun, begin: Begin) -> None:
    """Both arms with both seeds, as trials record themselves."""
    for arm, accuracy in ARMS.items():
        for seed in (0, 1):
            key = f"{arm}-{seed}"
            begin(study, key, arm=arm, seed=seed)
            for epoch in (1, 2):
                metrics = {"test/accuracy": accuracy * epoch / 2 + seed / 100}
                study.log_report(key, epoch, metrics | {"time/epoch_seconds": 1.0})
            study.log_dict(key, "data.json", DATA)
            confusion = {"matrix": [[9, 1], [4, 6]], "class_names": ["a", "b"]}
            study.log_dict(key, "confusion.json", confusion)
            study.end_trial(key, Outcome.COMPLETED)


def test_a_report_is_published_on_a_server(server: Served, begin: Begin, tmp_path: Path) -> None:
    uri, _ = server
    store = Store(uri)
    with store.start_study(PLAN["study"]) as study:
        study.log_dict(None, "plan.json", PLAN)
        _run_trials(study, begin)
        for _ in range(2):  # a later launch replaces what an earlier one published
            publish_report(store, study, store.plan(PLAN["study"]))
        study.finish(Outcome.COMPLETED)

    reader = Store(uri)
    parent = reader.client.get_run(study.run_id)
    note = parent.data.tags["mlflow.note.content"]
    assert "| full | **75.5 ± 0.7**<br>+25.0" in note
    assert reader.client.get_experiment(study.experiment_id).tags["mlflow.note.content"] == note
    assert {it.path for it in reader.client.list_artifacts(study.run_id)} == {
        "figures",
        "plan.json",
        "report.html",
    }
    found = {it.path: it.file_size for it in reader.client.list_artifacts(study.run_id, "figures")}
    assert found.keys() == {"figures/classes.png", "figures/curves.png", "figures/effects.png"}
    for path, size in found.items():
        image = Path(reader.client.download_artifacts(study.run_id, path, str(tmp_path)))
        assert image.read_bytes().startswith(b"\x89PNG")
        assert image.stat().st_size == size
    report = Path(reader.client.download_artifacts(study.run_id, "report.html", str(tmp_path)))
    page = report.read_text("utf-8")
    assert page.rstrip().endswith("</html>")
    for text in ("<h1>remote · é</h1>", "75.5 ± 0.7", "Plan of remote · é: 0123abcd, stored"):
        assert text in page
    assert "<li>seeds added: 1.</li>" in page
    assert page.count("data:image/svg+xml;base64,") == 3
