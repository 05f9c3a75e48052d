"""What launches have left is found, and repaired; results stay."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from dynaloss.errors import InputError
from dynaloss.execution import doctor
from dynaloss.execution.ablation import launch_ablation
from dynaloss.execution.delivery import outbox_path
from dynaloss.execution.doctor import examine, relocate
from dynaloss.studies import load_study
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Outbox, Workspace
from dynaloss.tracking.client import StoreAwayError

pytestmark = pytest.mark.xdist_group("doctor")

STUDY = {
    "study": "small",
    "trial": {
        "data": {"source": "digits", "n_max": 20},
        "model": {"name": "mlp"},
        "schedule": {"epochs": 2, "warmup_epochs": 1, "batch_size": 64, "ramp_epochs": 0},
    },
    "arms": {"as-written": {}},
    "seeds": [0, 1],
}


@pytest.fixture(autouse=True)
def _skip_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which starts Ray; `test_the_machine_is_described` looks at it."""
    monkeypatch.setattr(doctor, "_machine", lambda: iter(()))


@pytest.fixture
def workspace(empty_storage: Path, tmp_path: Path) -> Workspace:
    storage = tmp_path / "results"
    storage.mkdir()
    shutil.copy(empty_storage / "mlflow.db", storage)
    return Workspace(storage, f"sqlite:///{storage / 'mlflow.db'}")


@pytest.fixture(scope="module")
def launched_once(empty_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = shutil.copytree(empty_storage, tmp_path_factory.mktemp("launched") / "results")
    workspace = Workspace(storage, f"sqlite:///{storage / 'mlflow.db'}")
    console = Console(file=io.StringIO())
    assert launch_ablation(load_study(STUDY), workspace, console, in_process=True).exit_status == 0
    return storage


@pytest.fixture
def launched(workspace: Workspace, launched_once: Path) -> Workspace:
    """A workspace with a study that has ended."""
    shutil.copytree(launched_once, workspace.storage, dirs_exist_ok=True)
    assert len(list(relocate(workspace))) == 1
    return workspace


def problems(workspace: Workspace, *, repair: bool = False) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in examine(workspace, repair=repair):
        if finding.is_problem:
            found.setdefault(finding.about, []).append(finding.text)
    return found


def values(workspace: Workspace) -> list[tuple[str, str, float]]:
    records = workspace.open_store(must_exist=True).records("small")
    return [(it.key, it.run_id, it.metrics["test/accuracy"]) for it in records]


def test_nothing_is_wrong_after_a_launch(launched: Workspace) -> None:
    assert problems(launched) == {}
    texts = [str(finding) for finding in examine(launched)]
    assert "ok: small: nothing is left behind" in texts


def test_a_launch_removes_checkpoints_that_were_written_after_the_end(launched: Workspace) -> None:
    key = values(launched)[0][0]
    launched.checkpoints("small").mkdir(exist_ok=True)
    for name in (f"{key}.pt", f"{key}.before.pt", "another.pt"):
        (launched.checkpoints("small") / name).touch()
    study = load_study({**STUDY, "seeds": [0, 1, 2]})
    launch_ablation(study, launched, Console(file=io.StringIO()), in_process=True)
    assert [path.name for path in launched.checkpoints("small").iterdir()] == ["another.pt"]


class Away:
    def deliver(self, *record: object) -> None:
        raise StoreAwayError("away")

    def settle(self) -> None: ...

    def require(self) -> None:
        raise StoreAwayError("away")


def test_what_is_left_is_named_and_repaired_and_results_stay(launched: Workspace) -> None:
    before, store = values(launched), launched.open_store()
    key = before[0][0]
    run = store.start_study("small")  # and no end, as after a kill
    run.begin_trial("lost", name="lost", parameters={}, tags={"dynaloss.key_version": "1"})
    tags = {"dynaloss.role": "trial", "dynaloss.key": key}
    second = store.client.create_run(run.experiment_id, tags=tags).info.run_id
    store.client.set_terminated(second, "KILLED")
    checkpoints = launched.checkpoints("small")
    checkpoints.mkdir(exist_ok=True)
    for name in (f"{key}.pt", f"{key}.before.pt", "lost.17.part", "lost.pt"):
        (checkpoints / name).touch()
    with Outbox(outbox_path(launched, "small"), Away()) as outbox:
        outbox.add("log_report", key="lost", epoch=1, metrics={"loss": 2.0})
    (told,) = problems(launched).values()
    assert told == [
        "2 runs of a launch that was killed count as running",
        "1 runs beside the one of their trial",
        "1 records wait to be delivered",
        f"files without use: {key}.before.pt, {key}.pt, lost.17.part",
    ]

    said = [str(finding) for finding in examine(launched, repair=True)]
    assert any(second in line and "restore" in line for line in said)
    assert problems(launched) == {}
    states = launched.open_store().start_study("small").trials()
    assert states["lost"].outcome is Outcome.INTERRUPTED
    assert states["lost"].last_epoch == 1
    assert [(key, run_id) for key, run_id, _ in before] == [
        (key, state.run_id) for key, state in states.items() if key != "lost"
    ]
    assert [path.name for path in checkpoints.iterdir()] == ["lost.pt"]  # for the next launch
    assert store.client.get_run(second).info.lifecycle_stage == "deleted"


def test_a_study_that_runs_is_left_alone(launched: Workspace) -> None:
    launched.open_store().start_study("small")
    with launched.locked("small"):
        lines = [str(finding) for finding in examine(launched, repair=True)]
    assert any("ok: small: Another process is running" in line for line in lines)
    assert problems(launched) == {"small": ["1 runs of a launch that was killed count as running"]}


def test_a_study_of_another_folder_is_left_alone(launched: Workspace, tmp_path: Path) -> None:
    launched.open_store().start_study("small")
    other = Workspace(tmp_path / "other", launched.store_uri)
    assert problems(other, repair=True) == {}
    assert not (tmp_path / "other").exists()


def test_damage_of_the_store_is_named(launched: Workspace) -> None:
    database = launched.storage / "mlflow.db"
    content = bytearray(database.read_bytes())
    content[-4096 * 20 :] = bytes(4096 * 20)
    database.write_bytes(content)
    assert "store" in problems(launched)


def test_no_store_is_no_problem(tmp_path: Path) -> None:
    assert problems(Workspace(tmp_path / "none", f"sqlite:///{tmp_path / 'none/mlflow.db'}")) == {}


def test_little_space_is_a_problem(launched: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LOW_DISK_GIB", 1e9)
    (told,) = problems(launched)["disk"]
    assert str(launched.storage) in told


@pytest.mark.slow
def test_a_copied_folder_is_refused_until_it_is_pointed_to_its_own_artifacts(
    launched: Workspace, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(launched.storage, copy)
    copied = Workspace(copy, f"sqlite:///{copy / 'mlflow.db'}")
    study = {**STUDY, "seeds": [0, 1, 2]}
    with pytest.raises(InputError, match=rf"{launched.storage}.*moved.*doctor --relocate"):
        launch_ablation(load_study(study), copied, Console(file=io.StringIO()), in_process=True)
    (told,) = problems(copied)["small"]
    assert str(launched.storage) in told

    (finding,) = relocate(copied)
    assert (finding.about, finding.text.split()[0]) == ("small", "3")  # two trials and the study
    assert problems(copied) == {}
    originals = {path: path.stat().st_mtime_ns for path in launched.storage.rglob("*")}
    # In a process of its own: MLflow remembers where the artifacts of a run were.
    code = (
        "import dynaloss; "
        f"print(dynaloss.Study.load({study!r}).run({str(copy)!r}, in_process=True).as_text())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "1 completed, 2 finished before" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in launched.storage.rglob("*")} == originals
    records = copied.open_store().records("small", diagnostics=True)
    assert [bool(record.diagnostics) for record in records] == [True] * 3
    assert [finding.is_problem for finding in relocate(copied)] == [False]


@pytest.mark.ray
def test_the_machine_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    place = Workspace(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = {finding.about: finding for finding in examine(place)}
    assert not any(finding.is_problem for finding in found.values())
    assert "torch 2." in found["packages"].text
    assert "room for" in found["Ray"].text


def test_of_two_runs_the_one_that_has_ended_stays(launched: Workspace) -> None:
    store, key = launched.open_store(), values(launched)[0][0]
    run = store.start_study("small")
    first = run.begin_trial("twice", name="first", parameters={})
    tags = {"dynaloss.role": "trial", "dynaloss.key": "twice", "dynaloss.outcome": "completed"}
    second = store.client.create_run(run.experiment_id, tags=tags).info.run_id
    store.client.set_terminated(second, "FINISHED")
    list(examine(launched, repair=True))
    assert problems(launched) == {}
    assert store.client.get_run(first).info.lifecycle_stage == "deleted"
    assert launched.open_store().start_study("small").trials()["twice"].run_id == second
    assert key in launched.open_store().start_study("small").trials()


def test_damaged_records_are_a_problem(launched: Workspace) -> None:
    path = outbox_path(launched, "small")
    with Outbox(path, Away()) as outbox:
        outbox.add("log_report", key="lost", epoch=1, metrics={"loss": 2.0})
    path.write_text(path.read_text().replace("2.0", "3.0"))
    (told,) = problems(launched)["small"]
    assert f"{path}:1:" in told


def test_records_for_another_store_keep_their_files(
    launched: Workspace, empty_storage: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_storage / "mlflow.db", tmp_path / "other.db")
    other = Workspace(launched.storage, f"sqlite:///{tmp_path / 'other.db'}")
    files = outbox_path(other, "small").parent / "key-1"
    files.mkdir(parents=True)
    study = load_study({**STUDY, "seeds": [0, 1, 2]})
    launch_ablation(study, launched, Console(file=io.StringIO()), in_process=True)
    assert files.is_dir()
