"""This process as a backend; Ray is exercised end to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.data.sources import Source, load_source
from dynaloss.execution.backends import Work, open_backend
from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.studies import ResourcesConfig
from dynaloss.studies.trial_record import Outcome

EPOCHS = 3


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(DataConfig())


class Log:
    """Notes what it receives; signals this process, or fails, at the second epoch of a trial."""

    def __init__(self, *, stop: signal.Signals | None = None, fail: bool = False) -> None:
        self.reports: list[tuple[str, int]] = []
        self.outcomes: dict[str, Outcome] = {}
        self._stop = stop
        self._fail = fail

    def take(self, key: str, result: StepResult) -> bool:
        self.reports += [(key, epoch) for epoch, _ in result.reports]
        if result.outcome is not None:
            self.outcomes[key] = result.outcome
        if self.reports[-1] == ("a", 2):
            if self._fail:
                raise OSError("disk full")
            if self._stop is not None:
                os.kill(os.getpid(), self._stop)
        return result.outcome is None

    def end(self, key: str, outcome: Outcome, *rest: Any) -> None:
        self.outcomes[key] = outcome


def run(folder: Path, source: Source, log: Log, *keys: str) -> list[str]:
    """Runs trials of these keys in this process; returns the keys of those that began."""
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
            )

    with open_backend(ResourcesConfig(), in_process=True) as backend:
        assert backend.slots == 1
        backend.run(Work(orders=orders(), sources={"digits": source}, most=len(keys)), log)
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


def test_an_error_of_the_listener_keeps_the_state_and_is_raised(
    tmp_path: Path, source: Source
) -> None:
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, source, Log(fail=True), "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
