"""The backends: this process, and Ray whose processes are killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.data.sources import Source, load_source
from dynaloss.execution.backends import Work, open_backend
from dynaloss.execution.backends.ray_process import _processes_of, _Run
from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.studies import ResourcesConfig
from dynaloss.studies.trial_record import Outcome

EPOCHS = 3


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(DataConfig())


class Log:
    """Notes what it receives; at the second epoch of a trial does, or signals, or fails."""

    def __init__(
        self,
        *,
        stop: signal.Signals | None = None,
        fail: bool = False,
        do: Callable[[], object] = lambda: None,
    ) -> None:
        self.reports: list[tuple[str, int]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.notes: list[tuple[str | None, str]] = []
        self._stop = stop
        self._fail = fail
        self._do = do

    def take(self, key: str, result: StepResult) -> bool:
        self.reports += [(key, epoch) for epoch, _ in result.reports]
        if result.outcome is not None:
            self.outcomes[key] = result.outcome
        if self.reports[-1] == ("a", 2):
            self._do()
            if self._fail:
                raise OSError("disk full")
            if self._stop is not None:
                os.kill(os.getpid(), self._stop)
        return result.outcome is None

    def end(self, key: str, outcome: Outcome, message: str, *rest: Any) -> None:
        self.outcomes[key], self.message = outcome, message

    def note(self, key: str | None, text: str) -> None:
        self.notes.append((key, text))


def run(
    folder: Path,
    source: Source,
    log: Log,
    *keys: str,
    in_process: bool = True,
    retries: int = 0,
    epoch_seconds: float | None = None,
) -> list[str]:
    """Runs trials of these keys; returns the keys of those that began."""
    begun: list[str] = []
    config = TrialConfig.model_validate(
        {
            "data": {"n_max": 20},
            "model": {"name": "mlp"},
            "schedule": {"epochs": EPOCHS, "warmup_epochs": 1, "batch_size": 64},
        }
    ).model_dump()

    def orders() -> Iterator[TrialOrder]:
        for key in keys:
            begun.append(key)
            yield TrialOrder(
                key=key,
                config=config,
                source="digits",
                seed=0,
                base_seed=0,
                checkpoints=str(folder),
                epoch_seconds=epoch_seconds,
            )

    with open_backend(ResourcesConfig(), in_process=in_process) as backend:
        assert backend.slots == 1 or not in_process
        work = Work(orders=orders(), sources={"digits": source}, retries=retries)
        backend.run(work, log)
    return begun


def test_trials_run_one_after_the_other(tmp_path: Path, source: Source) -> None:
    log = Log()
    assert run(tmp_path, source, log, "a", "b") == ["a", "b"]
    assert log.reports == [(key, epoch) for key in "ab" for epoch in (1, 2, 3)]
    assert log.outcomes == {"a": Outcome.COMPLETED, "b": Outcome.COMPLETED}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_keeps_the_state(
    tmp_path: Path, source: Source, stop: signal.Signals
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    assert run(tmp_path, source, Log(stop=stop), "a", "b") == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert signal.getsignal(signal.SIGTERM) is handler
    rest = Log()
    run(tmp_path, source, rest, "a")
    assert rest.reports == [("a", 1), ("a", 2), ("a", 3)]
    assert rest.outcomes == {"a": Outcome.COMPLETED}


def test_sigterm_ends_the_run_of_a_background_job(tmp_path: Path, source: Source) -> None:
    """A shell script starts background jobs with SIGINT ignored."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run(tmp_path, source, Log(stop=signal.SIGTERM), "a", "b") == ["a"]
    finally:
        signal.signal(signal.SIGINT, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("error", "retries", "outcome", "notes"),
    [
        (OSError("disk away"), 1, Outcome.COMPLETED, 1),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, Outcome.COMPLETED, 1),
        (OSError("disk away"), 0, Outcome.FAILED, 0),
        (ValueError("a bug"), 1, Outcome.FAILED, 0),
    ],
)
def test_a_trial_is_tried_again_where_that_may_help(
    tmp_path: Path,
    source: Source,
    fail_once: Callable[[Exception], None],
    error: Exception,
    retries: int,
    outcome: Outcome,
    notes: int,
) -> None:
    fail_once(error)
    log = Log()
    run(tmp_path, source, log, "a", "b", retries=retries)
    assert log.outcomes == {"a": outcome, "b": Outcome.COMPLETED}
    assert [key for key, _ in log.notes] == ["a"] * notes
    assert all(str(error) in text for _, text in log.notes)
    assert whole(log.reports, "b")


def test_under_ray_a_trial_is_tried_again_as_often_as_the_limit_says(tmp_path: Path) -> None:
    order = TrialOrder(
        key="a", config={}, source="digits", seed=0, base_seed=0, checkpoints=str(tmp_path)
    )
    log = Log()
    log.reports.append(("a", 1))
    left = _Run(Work(orders=iter([order]), sources={}, retries=2), log)
    failed = StepResult(outcome=Outcome.FAILED, message="OSError: disk away", may_pass=True)
    for _ in range(2):
        assert left._answer("next") is order
        assert left._answer("take", "a", failed) is False
        assert log.outcomes == {}
    assert left._answer("next") is order
    left._answer("take", "a", failed)
    assert log.outcomes == {"a": Outcome.FAILED}
    assert [key for key, _ in log.notes] == ["a", "a"]


def test_an_error_of_the_listener_keeps_the_state_and_is_raised(
    tmp_path: Path, source: Source
) -> None:
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, source, Log(fail=True), "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.fixture
def kill(processes_below: Callable[[], dict[int, str]]) -> Callable[[str], None]:
    """Kills the processes below this one whose command line holds a text."""

    def end(text: str) -> None:
        for pid, command in processes_below().items():
            if text in command:
                with suppress(ProcessLookupError):  # it has ended since
                    os.kill(pid, signal.SIGKILL)

    return end


def whole(reports: list[tuple[str, int]], key: str) -> bool:
    """Whether every epoch of a trial has been reported, some again after a start anew."""
    return {epoch for one, epoch in reports if one == key} == set(range(1, EPOCHS + 1))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_trials_go_on_where_ray_is_lost_once_and_then_a_process(
    tmp_path: Path, source: Source, kill: Callable[[str], None]
) -> None:
    losses = iter(["backends.ray_cluster import serve", "ray::TrialTrainable"])

    def lose() -> None:
        if text := next(losses, ""):
            kill(text)

    log = Log(do=lose)
    # Two: Ray may give the trial the process of one that has ended, which is killed as well.
    run(tmp_path, source, log, "a", "b", "c", in_process=False, retries=2)
    assert log.outcomes == dict.fromkeys("abc", Outcome.COMPLETED)
    assert all(whole(log.reports, key) for key in "abc")
    notes = [key for key, _ in log.notes]
    assert notes[0] is None
    assert {"a"} <= {*notes[1:]} <= {*"abc"}  # and whichever ran beside it


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_process_with_a_group_of_its_own_belongs_to_the_session() -> None:
    """As a worker of Ray: it must not outlive the loss of Ray."""
    job = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {job!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as leader:
        worker = int(leader.stdout.readline()) if leader.stdout else 0
        assert os.getpgid(worker) == worker
        try:
            assert {*_processes_of(leader.pid)} == {leader.pid, worker}
        finally:
            os.killpg(leader.pid, signal.SIGKILL)
            os.kill(worker, signal.SIGKILL)


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_ray_that_is_lost_while_it_starts_is_started_again(
    tmp_path: Path,
    source: Source,
    kill: Callable[[str], None],
    processes_below: Callable[[], dict[int, str]],
) -> None:
    def kill_once() -> None:
        while not any("gcs_server" in command for command in processes_below().values()):
            time.sleep(0.01)
        kill("backends.ray_cluster import serve")

    killer = threading.Thread(target=kill_once)
    killer.start()
    log = Log()
    run(tmp_path, source, log, "a", in_process=False)
    killer.join()
    assert log.outcomes == {"a": Outcome.COMPLETED}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_ray_that_is_lost_again_leaves_the_trials_for_the_next_launch(
    tmp_path: Path, source: Source, kill: Callable[[str], None]
) -> None:
    log = Log(do=lambda: kill("backends.ray_cluster import serve"))
    run(tmp_path, source, log, "a", "b", in_process=False)
    assert log.outcomes.get("a") is None
    assert [key for key, _ in log.notes] == [None, None]
    assert "interrupted" in log.notes[-1][1]


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_signal_to_every_process_of_ray_ends_the_run_in_order(
    tmp_path: Path, source: Source, processes_below: Callable[[], dict[int, str]]
) -> None:
    """As a batch system sends it, which knows all processes of a job."""

    def signal_all() -> None:
        for pid in [*processes_below(), os.getpid()]:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(pid, signal.SIGTERM)

    log = Log(do=signal_all)
    run(tmp_path, source, log, "a", in_process=False)
    assert log.outcomes == {}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.ray
def test_a_trial_whose_epoch_takes_too_long_fails_and_says_where_it_was(
    tmp_path: Path, source: Source
) -> None:
    log = Log()
    run(tmp_path, source, log, "a", in_process=False, epoch_seconds=1e-3)
    assert log.outcomes == {"a": Outcome.FAILED}
    *where, last = log.message.splitlines()
    assert last == "an epoch took longer than limits.epoch_seconds"
    assert any("dynaloss" in line and " in " in line for line in where)


@pytest.mark.ray
def test_an_error_of_the_listener_keeps_the_state_under_ray(
    tmp_path: Path, source: Source
) -> None:
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, source, Log(fail=True), "a", in_process=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(("note", "told"), [("", "killed"), ("File x", "an epoch took longer")])
def test_a_lost_process_is_late_only_where_it_says_so(
    tmp_path: Path, note: str, told: str
) -> None:
    order = TrialOrder(
        key="a", config={}, source="digits", seed=0, base_seed=0, checkpoints=str(tmp_path)
    )
    log = Log()
    left = _Run(Work(orders=iter([order]), sources={}), log)
    assert left._answer("next") is order
    order.hang_file.write_text(note)
    left._answer("lost", "a", "killed")
    assert log.outcomes == {"a": Outcome.FAILED}
    assert log.message.splitlines()[-1].startswith(told)


def test_a_machine_that_does_not_reach_itself_is_refused_at_once() -> None:
    code = "from dynaloss.execution.backends.ray_cluster import _require_loopback as f; f()"
    apart = ["unshare", "--net", sys.executable, "-c"]  # where loopback is down
    if shutil.which("unshare") is None or subprocess.run([*apart, ""], check=False).returncode:
        pytest.skip("no network namespace can be made")
    done = subprocess.run([*apart, code], capture_output=True, text=True, check=False)
    assert "OSError: [Errno 101]" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
