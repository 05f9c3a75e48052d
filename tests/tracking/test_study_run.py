from __future__ import annotations

import errno
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dynaloss.errors import InputError
from dynaloss.studies.identity import KEY_VERSION
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Store, StudyRun, TrialState, Workspace
from dynaloss.tracking.schema import key_version_of

Begin = Callable[..., str]
MakeTrial = Callable[..., Trial]


def runs(store: Store, role: str = "trial") -> list:
    ids = list(store.experiment_ids().values())
    return list(store.client.search_runs(ids, f"tags.`dynaloss.role` = '{role}'"))


def test_trial_started_twice_has_one_run(store: Store, study: StudyRun, begin: Begin) -> None:
    first = begin(study, name="a")
    assert begin(study, name="b", arm="renamed") == first
    (run,) = runs(store)
    assert (run.info.run_name, run.data.tags["dynaloss.arm"]) == ("b", "renamed")


def test_relaunch_resumes_the_runs_of_a_killed_launch(
    store: Store, storage: Path, begin: Begin
) -> None:
    killed = store.start_study("quickstart")
    run_id = begin(killed)
    killed.log_report("k1", 1, {"loss": 1.0})
    killed.flush()
    killed.log_report("k1", 2, {"loss": 0.5})  # never written
    with Workspace(storage).open_store().start_study("quickstart") as again:
        assert again.run_id == killed.run_id
        assert again.trials() == {"k1": TrialState(run_id, Outcome.RUNNING, 1)}
        assert begin(again) == run_id
    assert len(runs(store)) == len(runs(store, "study")) == 1


def test_concurrent_launches_share_a_trial(store: Store, study: StudyRun, begin: Begin) -> None:
    with store.start_study("quickstart") as other:
        assert begin(other) == begin(study)


def test_one_of_two_simultaneous_runs_is_kept(
    store: Store, study: StudyRun, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(study)
    with store.start_study("quickstart") as other:
        monkeypatch.setattr(other, "_find", lambda key: None)
        assert begin(other) == first
    assert len(runs(store)) == 1


def test_fresh_trial_replaces_its_old_run(store: Store, study: StudyRun, begin: Begin) -> None:
    old = begin(study)
    study.log_report("k1", 1, {"loss": 1.0})
    study.end_trial("k1", Outcome.COMPLETED)
    new = begin(study, fresh=True)
    assert new != old
    assert study.trials()["k1"].last_epoch is None
    assert [run.info.run_id for run in runs(store)] == [new]


def test_replayed_reports_are_written_once(store: Store, study: StudyRun, begin: Begin) -> None:
    run_id = begin(study)
    for epoch in (1, 2, 3):
        study.log_report("k1", epoch, {"loss": 1 / epoch})
    study.end_trial("k1", Outcome.INTERRUPTED)
    with store.start_study("quickstart") as again:
        begin(again)
        for epoch in (2, 3, 4, 4):
            again.log_report("k1", epoch, {"loss": 1 / epoch})
        again.end_trial("k1", Outcome.COMPLETED)
    history = store.client.get_metric_history(run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(e, 1 / e) for e in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.COMPLETED, "FINISHED"),
        (Outcome.PRUNED, "KILLED"),
        (Outcome.DIVERGED, "FAILED"),
        (Outcome.FAILED, "FAILED"),
        (Outcome.INTERRUPTED, "KILLED"),
    ],
)
def test_outcome_is_stored_as_status_and_tag(
    store: Store, study: StudyRun, begin: Begin, outcome: Outcome, status: str
) -> None:
    run_id = begin(study)
    study.end_trial("k1", outcome, "why")
    run = store.client.get_run(run_id)
    assert run.info.status == status
    assert (run.data.tags["dynaloss.outcome"], run.data.tags["dynaloss.message"]) == (
        outcome,
        "why",
    )
    begin(study)
    run = store.client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["dynaloss.outcome"] == "running"
    assert "dynaloss.message" not in run.data.tags


def test_trials_left_running_by_a_killed_launch_are_marked(store: Store, begin: Begin) -> None:
    killed = store.start_study("quickstart")
    for key in ("done", "resumed", "lost"):
        begin(killed, key)
    killed.end_trial("done", Outcome.COMPLETED)
    with store.start_study("quickstart") as again:
        assert again.mark_stale(keep={"resumed"}) == ("lost",)
        states = {key: state.outcome for key, state in again.trials().items()}
    assert states == {
        "done": Outcome.COMPLETED,
        "resumed": Outcome.RUNNING,
        "lost": Outcome.INTERRUPTED,
    }


def test_trials_are_children_of_the_study_run(store: Store, study: StudyRun, begin: Begin) -> None:
    tags = store.client.get_run(begin(study, tags={"x": 1})).data.tags
    assert tags["mlflow.parentRunId"] == study.run_id
    assert tags["dynaloss.study"] == "quickstart"
    assert tags["x"] == "1"
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= tags.keys()


def test_many_and_long_parameters_are_stored_within_the_limits(
    store: Store, study: StudyRun, begin: Begin
) -> None:
    parameters = {f"p{i}": i for i in range(250)} | {"long": "x" * 7000, "odd[0]": "", "a//b": 1}
    tags = {f"t{i}": "y" * 9000 for i in range(120)}
    run_id = begin(study, parameters=parameters, tags=tags)
    study.flush()
    data = store.client.get_run(run_id).data
    assert len(data.params) == 253
    assert data.params["long"] == "x" * 5999 + "…"
    assert data.tags["dynaloss.parameters_cut"] == "long"
    assert (data.params["odd_0_"], data.params["a/b"]) == ("", "1")
    assert len(data.tags["t119"]) == 8000


def test_parameter_keeps_its_first_value(store: Store, study: StudyRun, begin: Begin) -> None:
    begin(study, parameters={"cpu": 1, "lr": 0.1})
    run_id = begin(study, parameters={"cpu": 2, "lr": 0.1, "new": 3})
    study.flush()
    data = store.client.get_run(run_id).data
    assert data.params == {"cpu": "1", "lr": "0.1", "new": "3"}
    assert data.tags["dynaloss.parameters_changed"] == "cpu"


@pytest.mark.parametrize("name", ["a/b", 'it\'s "quoted"', "ünïcode · ×", "../up", "50% #1?"])
def test_names_may_hold_any_character(store: Store, begin: Begin, name: str) -> None:
    with store.start_study(name) as study:
        run_id = begin(study, name=name, condition=name, arm=name)
        study.log_dict("k1", "corrector.json", {"w": 1})
    with store.start_study(name) as again:
        assert again.trials()["k1"].run_id == run_id
    assert store.client.get_run(run_id).data.tags["dynaloss.arm"] == name


@pytest.mark.parametrize("key", ["a'b", "", "x y"])
def test_key_that_cannot_be_searched_is_refused(study: StudyRun, begin: Begin, key: str) -> None:
    facts = rf"letters, digits and `_\.:\+-`.*got {re.escape(repr(key))}"
    with pytest.raises(ValueError, match=facts):
        begin(study, key)


def test_unknown_key_is_refused(study: StudyRun) -> None:
    with pytest.raises(ValueError, match=r"`key`.*trial .*got 'nope'"):
        study.log_report("nope", 1, {})


def test_labels_follow_the_plan(
    store: Store,
    study: StudyRun,
    begin: Begin,
    trial: MakeTrial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = begin(study)
    renamed = trial("k1", condition="c", arm="only-margin")
    study.update_labels(renamed)
    run = store.client.get_run(run_id)
    assert run.info.run_name == renamed.name
    assert run.data.tags["dynaloss.arm"] == "only-margin"
    with monkeypatch.context() as patched:
        patched.setattr(study, "_client", None)  # nothing differs: nothing may be written
        study.update_labels(renamed)


def test_artifacts_are_in_the_storage_folder(study: StudyRun, begin: Begin, storage: Path) -> None:
    import numpy as np

    run_id = begin(study)
    study.log_dict("k1", "margins.json", {"margin": np.arange(3), "nan": math.nan})
    study.log_text(None, "plan.yaml", "study: quickstart")
    study.log_study_artifact(storage / "mlflow.db", "files")
    folder = storage / "artifacts" / "quickstart"
    written = json.loads((folder / run_id / "artifacts" / "margins.json").read_text())
    assert written["margin"] == [0, 1, 2]
    assert (folder / study.run_id / "artifacts" / "plan.yaml").exists()
    assert (folder / study.run_id / "artifacts" / "files" / "mlflow.db").exists()


def test_data_of_a_trial_are_logged_as_inputs_once(
    store: Store, study: StudyRun, begin: Begin
) -> None:
    record = {
        "source": "digits",
        "digest": "d" * 64,
        "tail_digest": "t" * 64,
        "noise_digest": "n" * 64,
        "split_digests": {"train": "a" * 64, "test": "b" * 64},
        "splits": {"train": 100, "validation": 0, "test": 20},
        "flip_rate": 0.4,
        "true_class_counts": [50, 50],
        "observed_class_counts": [60, 40],
    }
    run_id = begin(study)
    for _ in range(2):  # a resumed trial logs its data again
        study.log_data("k1", record)
    inputs = store.client.get_run(run_id).inputs.dataset_inputs
    found = {it.tags[0].value: it.dataset for it in inputs}
    assert len(inputs) == 2
    assert {context: data.digest for context, data in found.items()} == {
        "train": "a" * 16,
        "test": "b" * 16,
    }
    assert json.loads(found["train"].profile)["noise_digest"] == "n" * 16
    assert json.loads(found["test"].profile) == {"num_rows": 20}


def test_description_is_on_the_experiment_and_the_parent(store: Store, study: StudyRun) -> None:
    study.set_description("# Table")
    note = "mlflow.note.content"
    tags = store.client.get_experiment(study.experiment_id).tags
    assert tags[note] == "# Table"
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert store.client.get_run(study.run_id).data.tags[note] == "# Table"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(RuntimeError("boom"), "failed"), (KeyboardInterrupt(), "interrupted")],
    ids=["error", "ctrl-c"],
)
def test_exception_in_the_block_ends_the_study(
    store: Store, error: BaseException, outcome: str
) -> None:
    with pytest.raises(type(error)), store.start_study("quickstart"):
        raise error
    (parent,) = runs(store, "study")
    assert parent.data.tags["dynaloss.outcome"] == outcome


def test_finished_study_is_reopened_by_the_next_launch(store: Store) -> None:
    store.start_study("quickstart").finish(Outcome.COMPLETED)
    assert runs(store, "study")[0].info.status == "FINISHED"
    with store.start_study("quickstart", tags={"plan": "hash"}):
        assert runs(store, "study")[0].info.status == "RUNNING"
        assert runs(store, "study")[0].data.tags["plan"] == "hash"


def test_deleted_experiment_is_refused_with_the_remedy(store: Store) -> None:
    study = store.start_study("quickstart")
    study.finish(Outcome.COMPLETED)
    store.client.delete_experiment(study.experiment_id)
    remedy = "`.*mlflow experiments restore --experiment-id 1`"
    with pytest.raises(InputError, match=rf"'quickstart'.*deleted .*{remedy}"):
        store.start_study("quickstart")


@pytest.mark.parametrize("name", ["", "  ", "x" * 251])
def test_invalid_study_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match=rf"\b1 to 250 characters.*got {name!r}"):
        store.start_study(name)


def test_experiment_created_concurrently_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store.client.create_experiment("quickstart")
    find, answers = store.client.raw.get_experiment_by_name, iter([None])
    monkeypatch.setattr(
        store.client.raw, "get_experiment_by_name", lambda name: next(answers, find(name))
    )
    with store.start_study("quickstart") as study:
        assert study.experiment_id == made


def test_a_trial_has_the_version_of_its_key(store: Store, study: StudyRun, begin: Begin) -> None:
    begin(study)
    assert study.trials()["k1"].key_version == KEY_VERSION
    assert "dynaloss.key_version" not in store.records("quickstart")[0].tags
    study.tag_trial("k1", {"dynaloss.key_version": KEY_VERSION + 1})
    study.flush()
    assert store.records("quickstart")[0].key_version == KEY_VERSION + 1
    assert key_version_of({}) == 1


def test_an_end_that_a_kill_cut_in_half_is_finished(store: Store, begin: Begin) -> None:
    with store.start_study("cut") as study:
        run_id = begin(study, "k1")
        store.client.set_tag(run_id, "dynaloss.outcome", "completed")  # and no status
        study.finish(Outcome.INTERRUPTED)
    assert store.client.get_run(run_id).info.status == "RUNNING"
    with store.start_study("cut") as study:
        assert study.mark_stale() == ()
        study.finish(Outcome.COMPLETED)
    assert store.client.get_run(run_id).info.status == "FINISHED"


def test_a_clock_that_is_set_back_leaves_the_last_epoch_the_last(
    store: Store, study: StudyRun, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(study)
    hour = 3600 * 10**9
    for epoch, now in ((1, 9 * hour), (2, 8 * hour), (3, 7 * hour)):
        monkeypatch.setattr("dynaloss.tracking.batch_writer.time.time_ns", lambda now=now: now)
        study.log_report("k1", epoch, {"loss": 1 / epoch})
        study.flush()
    (record,) = store.records("quickstart", history=True)
    assert record.metrics["loss"] == 1 / 3
    assert record.history["loss"] == ((1, 1.0), (2, 0.5), (3, 1 / 3))
    assert study.trials()["k1"].last_epoch == 3


def test_records_delivered_again_without_their_beginning_add_nothing(
    store: Store, study: StudyRun, begin: Begin
) -> None:
    """As after a kill between their delivery and their removal from the disk."""
    run_id = begin(study)
    reports = [(1, {"loss": 1.0}), (2, {"loss": 0.5})]
    for epoch, metrics in reports:
        study.log_report("k1", epoch, metrics)
    study.flush()
    for _ in range(2):
        with store.start_study("quickstart") as again:
            for epoch, metrics in [*reports, (2, {"disk/artifacts_mib": 3.0})]:
                again.log_report("k1", epoch, metrics)
    for name, values in {"loss": [1.0, 0.5], "epoch": [1, 2], "disk/artifacts_mib": [3.0]}.items():
        assert [m.value for m in store.client.get_metric_history(run_id, name)] == values


def test_an_error_of_a_copied_file_keeps_its_number(
    study: StudyRun, begin: Begin, storage: Path, tmp_path: Path
) -> None:
    """By which the command line tells a full disk."""
    run_id = begin(study)
    (tmp_path / "new" / "figures").mkdir(parents=True)
    for name in ("config.json", "figures/curves.png"):
        (tmp_path / "new" / name).write_text(name)
    study.log_artifacts("k1", tmp_path / "new")
    stored = storage / "artifacts" / "quickstart" / run_id / "artifacts"
    assert (stored / "figures" / "curves.png").read_text() == "figures/curves.png"
    (stored / "config.json").unlink()
    (stored / "config.json").mkdir()
    with pytest.raises(OSError) as failed:  # noqa: PT011 - its number is what is tested
        study.log_artifacts("k1", tmp_path / "new")
    assert failed.value.errno == errno.EISDIR
