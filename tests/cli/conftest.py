"""Stores of made-up trials, written past MLflow's API as the benchmark of `compare` does."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dynaloss.cli.main import main
from dynaloss.design.record import Outcome, TrialRecord
from dynaloss.tracking import open_store

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


@pytest.fixture(scope="session")
def bulk_store() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "bulk_store.py"
    spec = importlib.util.spec_from_file_location("bulk_store", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def empty_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with an empty database, which takes MLflow seconds to make."""
    storage = tmp_path_factory.mktemp("empty")
    open_store(f"sqlite:///{storage / 'mlflow.db'}", storage)
    return storage


@pytest.fixture
def write(
    empty_storage: Path, bulk_store: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Write:
    """Writes a study of made-up trials into the store of the test's folder."""
    storage = tmp_path / "results"
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DYNALOSS_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(empty_storage, storage)

    def call(study: str, *trials: TrialRecord, **given: Any) -> None:
        bulk_store.write_records(storage, study, trials, **given)

    return call


@pytest.fixture
def compare(write: Write) -> Callable[..., Result]:
    """Runs `dynaloss compare` on the store that `write` fills."""

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ("compare", *arguments))

    return call
