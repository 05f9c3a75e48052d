"""What a study shows in MLflow's own interface, on a real store."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from dynaloss.execution.ablation import launch_trial, plan_study
from dynaloss.execution.publish import _for_mlflow, describe, publish_report
from dynaloss.studies import AblationStudy, load_study
from dynaloss.studies.plan import Plan
from dynaloss.studies.stored_plan import stored_plan
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Store, Workspace

pytestmark = pytest.mark.xdist_group("reporting")

NOTE = "mlflow.note.content"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> AblationStudy:
    path = tmp_path_factory.mktemp("study") / "small.yaml"
    path.write_text(
        "study: small\n"
        "trial:\n"
        "  data: {noise: {rate: 0.4}, imbalance_factor: 10}\n"
        "  model: {name: mlp}\n"
        "  schedule: {epochs: 2, warmup_epochs: 1, batch_size: 128}\n"
        "ablation: {components: [margin]}\n"
        "seeds: [0]\n"
    )
    return load_study(path)


@pytest.fixture(scope="module")
def plan(study: AblationStudy) -> Plan:
    return plan_study(study)


@pytest.fixture(scope="module")
def store(study: AblationStudy, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with both trials of the study, run one by one."""
    storage = tmp_path_factory.mktemp("results")
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    for trial in plan.trials:
        workspace = Workspace(storage, uri)
        launch_trial(study, trial, workspace, Console(file=io.StringIO()))
    return Workspace(storage, uri).open_store()


def test_study_run_has_table_report_and_figures(store: Store, plan: Plan) -> None:
    with store.start_study("small") as run:
        publish_report(store, run, stored_plan(plan))
        run.finish(Outcome.COMPLETED)
    parent = store.client.get_run(run.run_id)
    note = parent.data.tags[NOTE]
    assert store.client.get_experiment(run.experiment_id).tags[NOTE] == note
    assert "2 arms × 1 conditions × 1 seeds, 2 trials" in note
    records = {
        r.data.tags["dynaloss.arm"]: r.data.metrics["test/accuracy"]
        for r in store.client.search_runs([run.experiment_id])
        if r.data.tags["dynaloss.role"] == "trial"
    }
    for arm, accuracy in records.items():
        assert any(
            line.startswith(f"| {arm} ") and f"{100 * accuracy:.1f}" in line
            for line in note.splitlines()
        )
    assert parent.data.metrics == {
        f"mean test accuracy/{arm}/symmetric 0.4 IR 10": pytest.approx(accuracy)
        for arm, accuracy in records.items()
    }
    paths = {it.path for it in store.client.list_artifacts(run.run_id)}
    assert paths == {"report.html", "figures"}
    figures = [it.path for it in store.client.list_artifacts(run.run_id, "figures")]
    assert "figures/curves.png" in figures
    assert "figures/margins.png" in figures


def test_a_trial_records_its_data_and_its_figures(store: Store, plan: Plan) -> None:
    experiment = store.client.get_experiment_by_name("small")
    runs = {
        run.data.tags.get("dynaloss.arm"): run
        for run in store.client.search_runs([experiment.experiment_id])
    }
    assert runs["full"].info.run_name == "full · symmetric 0.4 · IR 10 · seed 0"
    inputs = {
        arm: {it.tags[0].value: it.dataset for it in runs[arm].inputs.dataset_inputs}
        for arm in ("none", "full")
    }
    assert inputs["full"].keys() == {"train", "test"}
    # The arms of a seed see the same data.
    for context in ("train", "test"):
        assert inputs["full"][context].digest == inputs["none"][context].digest
    profile = json.loads(inputs["full"]["train"].profile)
    assert profile["num_rows"] == sum(profile["true_class_counts"])
    files = {it.path for it in store.client.list_artifacts(runs["full"].info.run_id)}
    assert {"corrector.png", "margins.png", "confusion.png"} <= files
    size = runs["full"].data.metrics["disk/artifacts_mib"]
    folder = Path(runs["full"].info.artifact_uri.removeprefix("file://"))
    assert size * 2**20 == pytest.approx(sum(p.stat().st_size for p in folder.iterdir()))


def test_means_are_those_of_the_last_launch(store: Store) -> None:
    with store.start_study("means") as run:
        run.log_means({"mean of a": 0.5, "mean of b": 0.25})
        run.log_means({"mean of a": 0.125})
    found = store.client.get_run(run.run_id).data.metrics
    assert found == pytest.approx({"mean of a": 0.125, "mean of b": math.nan}, nan_ok=True)


def test_angle_brackets_and_line_breaks_suit_mlflow() -> None:
    assert _for_mlflow("a<br>\np \\< 1<br>\n\nb") == "a<br>\np &lt; 1\n\nb"


def test_a_study_without_results_is_described(plan: Plan) -> None:
    text = describe(stored_plan(plan), None, "No trial has completed.")
    assert text.endswith("No trial has completed.\n")
