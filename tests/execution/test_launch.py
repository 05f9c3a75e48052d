"""What a launch decides; Ray itself is exercised end to end."""

from __future__ import annotations

import io
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from dynaloss.analysis.forecast import Pace
from dynaloss.errors import InputError
from dynaloss.execution.ablation import (
    launch_ablation,
    launch_trial,
    plan_study,
    single_trial,
)
from dynaloss.execution.backends.ray_cluster import _reason, _slots
from dynaloss.execution.backends.ray_process import ray_backend
from dynaloss.execution.trial.runner import StepResult, TrialRunner
from dynaloss.studies import AblationStudy, ResourcesConfig, load_study, override
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Workspace


@pytest.fixture
def study(tmp_path: Path) -> AblationStudy:
    path = tmp_path / "small.yaml"
    path.write_text(
        "study: small\n"
        "trial:\n"
        "  data: {noise: {rate: 0.2}}\n"
        "  model: {name: mlp}\n"
        "  schedule: {epochs: 2, warmup_epochs: 1, batch_size: 256}\n"
        "ablation: {components: [corrector, margin]}\n"
        "seeds: [3]\n"
    )
    return load_study(path)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(storage=tmp_path / "results")


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO())


def test_one_trial_is_recorded_with_artifacts(
    study: AblationStudy, workspace: Workspace, console: Console
) -> None:
    trial = single_trial(study, arm="full")
    ending = launch_trial(study, trial, workspace, console)
    assert ending.outcome is Outcome.COMPLETED
    (record,) = workspace.open_store().records("small", history=True, diagnostics=True)
    assert record.key == trial.key
    assert record.metrics["test/accuracy"] == ending.metrics["test/accuracy"]
    assert [epoch for epoch, _ in record.history["test/accuracy"]] == [1, 2]
    assert set(record.diagnostics) == {"corrector", "margins", "confusion", "data"}
    artifacts = workspace.storage / "artifacts" / "small" / record.run_id / "artifacts"
    assert {path.name for path in artifacts.iterdir()} == {
        "config.json",
        "corrector.json",
        "corrector.png",
        "margins.json",
        "margins.png",
        "confusion.json",
        "confusion.png",
        "data.json",
    }
    assert not list(workspace.checkpoints("small").glob("*.pt"))


def test_a_trial_that_has_ended_keeps_its_name_and_is_trained_again_only_where_asked_for(
    study: AblationStudy, workspace: Workspace, console: Console
) -> None:
    same = study.model_copy(update={"ablation": None, "arms": {"plain": {}}})
    first = launch_trial(same, single_trial(same, arm="plain"), workspace, console)
    (run,) = workspace.open_store().records("small")
    output = io.StringIO()
    again = launch_trial(same, single_trial(same), workspace, Console(file=output, width=200))
    assert again.trial.arm == "plain"
    assert again.outcome is Outcome.COMPLETED
    assert again.metrics["time/trial_seconds"] == first.metrics["time/trial_seconds"]
    assert f"{first.trial.name} has ended in an earlier launch" in output.getvalue()
    assert [record.arm for record in workspace.open_store().records("small")] == ["plain"]
    fresh = launch_trial(same, single_trial(same, arm="plain"), workspace, console, fresh=True)
    assert fresh.metrics["time/trial_seconds"] != first.metrics["time/trial_seconds"]
    (latest,) = workspace.open_store().records("small")
    assert latest.run_id != run.run_id


def test_a_trial_goes_on_after_an_interruption_and_says_where(
    study: AblationStudy, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, output = single_trial(study, arm="full"), io.StringIO()
    step, steps = TrialRunner.step, iter(range(9))

    def interrupted(runner: TrialRunner) -> StepResult:
        if next(steps) == 1:
            raise KeyboardInterrupt
        return step(runner)

    monkeypatch.setattr(TrialRunner, "step", interrupted)
    endings = [launch_trial(study, trial, workspace, Console(file=output)) for _ in range(2)]
    assert [ending.outcome for ending in endings] == [Outcome.INTERRUPTED, Outcome.COMPLETED]
    resumed = [line for line in output.getvalue().splitlines() if "resumed" in line]
    assert len(resumed) == 1
    assert resumed[0].startswith(f"[0/1] {trial.name}: resumed from epoch 1/2")
    (record,) = workspace.open_store().records("small", history=True)
    assert [epoch for epoch, _ in record.history["test/accuracy"]] == [1, 2]


def test_next_launch_publishes_the_report_that_a_kill_prevented(
    study: AblationStudy, workspace: Workspace, console: Console
) -> None:
    alone = study.model_copy(update={"ablation": None})
    launch_trial(alone, single_trial(alone, arm="full"), workspace, console)
    store = workspace.open_store()

    def parent() -> Any:
        (found,) = store.client.search_runs(
            [store.experiment_ids()["small"]], "tags.`dynaloss.role` = 'study'"
        )
        return found

    def launch() -> str:
        assert launch_ablation(alone, workspace, console).skipped == 1
        return str(parent().data.tags["mlflow.note.content"])

    told = launch()
    assert "report.html" in told
    run_id = parent().info.run_id
    store.client.set_tag(run_id, "mlflow.note.content", "untouched")
    assert launch() == "untouched"
    store.client.set_tag(run_id, "dynaloss.outcome", "running")
    assert launch() == told


def test_labels_in_another_order_are_warned_of_in_plan_launch_and_report(
    study: AblationStudy, workspace: Workspace, console: Console, tmp_path: Path
) -> None:
    np.save(tmp_path / "labels.npy", np.random.default_rng(0).integers(0, 10, 1797))
    noise = {"data.noise.kind": "file", "data.noise.path": str(tmp_path / "labels.npy")}
    alone = study.model_copy(update={"ablation": None, "trial": override(study.trial, noise)})
    short, warning = plan_study(alone).warnings
    assert "schedule.warmup_epochs" in short
    assert re.search(r"/labels\.npy': 8\d\.\d % ", warning)
    launch_ablation(alone, workspace, console, in_process=True)
    shown = [line for line in console.file.getvalue().splitlines() if "labels.npy" in line]
    assert shown == [f"warning: {warning}"]
    (report,) = workspace.storage.rglob("report.html")
    assert "labels.npy&#39;: " in report.read_text()


def test_labels_that_do_not_fit_are_refused_in_the_plan(
    study: AblationStudy, tmp_path: Path
) -> None:
    np.save(tmp_path / "labels.npy", np.full(1797, 10))
    noise = {"data.noise.kind": "file", "data.noise.path": str(tmp_path / "labels.npy")}
    noisy = study.model_copy(update={"trial": override(study.trial, noise)})
    with pytest.raises(InputError, match=r"/labels\.npy' must hold labels from 0 to 9") as caught:
        plan_study(noisy)
    assert len(caught.value.problems) == 1


def test_a_trial_computes_with_the_threads_of_its_cores(
    study: AblationStudy,
    workspace: Workspace,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    step = TrialRunner.step

    def watched(runner: TrialRunner) -> StepResult:
        seen.append(torch.get_num_threads())
        return step(runner)

    monkeypatch.setattr(TrialRunner, "step", watched)
    before = torch.get_num_threads()
    wide = study.model_copy(update={"resources": ResourcesConfig(cpu=before + 2)})
    launch_trial(wide, single_trial(wide, arm="full"), workspace, console)
    assert set(seen) == {before + 2}
    assert torch.get_num_threads() == before


def test_a_single_trial_has_the_key_of_the_plan(study: AblationStudy) -> None:
    planned = {trial.arm: trial.key for trial in plan_study(study).trials}
    assert single_trial(study, arm="margin-only").key == planned["margin-only"]
    assert single_trial(study, arm="margin-only", seed=4).key != planned["margin-only"]
    wide = study.model_copy(update={"resources": ResourcesConfig(cpu=2)})
    (key,) = {trial.key for trial in plan_study(wide).trials if trial.arm == "margin-only"}
    assert single_trial(wide, arm="margin-only").key == key != planned["margin-only"]


def test_a_gpu_that_is_not_there_is_not_replaced_by_the_cpu(
    study: AblationStudy,
    workspace: Workspace,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wanted = study.model_copy(update={"resources": ResourcesConfig(gpu=0.5)})
    with pytest.raises(InputError, match=r"^resources\.gpu .*at most .*\b0 .*got 0\.5$"):
        launch_trial(wanted, single_trial(wanted), workspace, console)


def test_other_threads_are_another_trial_beside_the_earlier_one(
    study: AblationStudy, workspace: Workspace, console: Console
) -> None:
    alone = study.model_copy(update={"ablation": None, "arms": {"full": {}}})
    wide = alone.model_copy(update={"resources": ResourcesConfig(cpu=2)})
    first, second, again = (
        launch_ablation(one, workspace, console, in_process=True) for one in (alone, wide, wide)
    )
    assert [len(launch.endings) for launch in (first, second, again)] == [1, 1, 0]
    (deviation,) = second.deviations
    assert re.search(r"\bthreads\b.* in 1 cells: full · symmetric 0\.2 · IR 1 · seed 3", deviation)
    assert {record.key for record in workspace.open_store().records("small")} == {
        *first.endings,
        *second.endings,
    }


def test_a_second_launch_of_a_running_study_is_refused(
    study: AblationStudy, workspace: Workspace, console: Console
) -> None:
    facts = rf"process .*'small' in {re.escape(str(workspace.storage))}:"
    with workspace.locked("small"), pytest.raises(InputError, match=facts):
        launch_trial(study, single_trial(study), workspace, console)


def test_resources_that_the_machine_lacks_are_refused_together(study: AblationStudy) -> None:
    wanted = study.resources.model_copy(update={"cpu": 64.0, "gpu": 1.0})
    with pytest.raises(InputError) as error:
        _slots(wanted, {"CPU": 2.0})
    cpu, gpu = error.value.problems
    assert re.search(r"^resources\.cpu .*at most .*\b2 .*got 64$", cpu)
    assert re.search(r"^resources\.gpu .*at most .*\b0 .*got 1$", gpu)


def test_an_invalid_address_is_one_clear_error(
    study: AblationStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with (
        pytest.raises(InputError, match="RAY_ADDRESS='nonsense': Invalid address"),
        ray_backend(study.resources) as backend,
    ):
        _ = backend.slots


def test_a_cluster_that_does_not_answer_is_one_clear_error(
    study: AblationStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with (
            pytest.raises(InputError, match=f"RAY_ADDRESS='{address}': .*refused"),
            ray_backend(study.resources) as backend,
        ):
            _ = backend.slots


def test_a_ray_error_is_reported_with_its_cause() -> None:
    error = ConnectionError("Failed to connect\nto Ray")
    assert _reason(error) == "Failed to connect"
    error.__cause__ = RuntimeError("Traceback:\n  File ...\nAuthenticationError: no token")
    assert _reason(error) == "Failed to connect: AuthenticationError: no token"


def listening(processes: Iterable[int]) -> Iterator[str]:
    """Addresses, in hex as the kernel shows them, on which processes listen."""
    sockets = set()
    for link in (link for one in processes for link in Path(f"/proc/{one}/fd").glob("*")):
        with suppress(OSError):
            sockets.add(str(link.readlink()))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state, inode = (line.split()[k] for k in (1, 3, 9))
            if state == "0A" and f"socket:[{inode}]" in sockets:
                yield address.partition(":")[0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's tables")
def test_ray_listens_on_loopback_alone(
    study: AblationStudy, processes_below: Callable[[], dict[int, str]]
) -> None:
    with ray_backend(study.resources) as backend:
        assert backend.slots  # it has started
        found = [*listening(processes_below())]
    assert len(found) > 2
    # 127.0.0.1, ::1 and ::ffff:127.0.0.1
    ipv6 = {"00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert set(found) <= {"0100007F", *ipv6}


def test_fractional_resources_share_a_processor(study: AblationStudy) -> None:
    wanted = study.resources.model_copy(update={"cpu": 1.0, "gpu": 0.25})
    assert _slots(wanted, {"CPU": 8.0, "GPU": 1.0}) == 4


def test_the_next_forecast_knows_what_the_launch_took_besides(
    study: AblationStudy, workspace: Workspace, console: Console
) -> None:
    launch_ablation(study, workspace, console, in_process=True)
    found = Pace.of(workspace.open_store().tags("small"))
    assert found != Pace()
    assert 0 < found.around < 300
    assert found.beside_epochs >= 1
