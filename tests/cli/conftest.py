"""Stores of made-up trials, written past MLflow's API as the benchmark of `compare` does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bulk_store import write_records
from click.testing import CliRunner, Result

from dynaloss.cli.main import main
from dynaloss.studies.trial_record import Outcome, TrialRecord

Trial = Callable[..., TrialRecord]
Write = Callable[..., None]


def make_trial(
    arm: str = "full",
    seed: int = 0,
    accuracy: float = 0.5,
    *,
    condition: str = "A",
    outcome: Outcome = Outcome.COMPLETED,
    key: str = "",
    metrics: dict[str, float] | None = None,
    data: str | None = None,
    **fields: Any,
) -> TrialRecord:
    """A made-up trial; `data` is the digest of its data."""
    key = key or f"{condition}/{arm}/{seed}"
    diagnostics = {} if data is None else {"data": {"source": "made up", "digest": data}}
    return TrialRecord(
        study="",
        key=key,
        run_id="",
        condition=condition,
        arm=arm,
        seed=seed,
        outcome=outcome,
        metrics={"test/accuracy": accuracy} | (metrics or {}),
        **{"diagnostics": diagnostics} | fields,
    )


@pytest.fixture(scope="session")
def trial() -> Trial:
    return make_trial


@pytest.fixture
def write(
    empty_storage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Write:
    """Writes a study of made-up trials into the store of the test's folder."""
    storage = tmp_path / "results"
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DYNALOSS_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(empty_storage, storage)

    def call(study: str, *trials: TrialRecord, **given: Any) -> None:
        write_records(storage, study, trials, **given)

    return call


@pytest.fixture
def compare(write: Write) -> Callable[..., Result]:
    """Runs `dynaloss compare` on the store that `write` fills."""

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ("compare", *arguments))

    return call
