"""Stores and studies on real MLflow: SQLite files in the test's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dynaloss.config import TrialConfig
from dynaloss.studies.plan import Trial
from dynaloss.tracking import Store, StudyRun, Workspace
from dynaloss.tracking.study_run import labels_of

Begin = Callable[..., str]
MakeTrial = Callable[..., Trial]

MLFLOW_WARNS = "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
"""MLflow 3.17 on SQLAlchemy 2.1."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings(MLFLOW_WARNS))


@pytest.fixture
def storage(empty_storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "my résults #1"
    folder.mkdir()
    shutil.copy(empty_storage / "mlflow.db", folder)
    return folder


@pytest.fixture
def store(storage: Path) -> Store:
    return Workspace(storage).open_store()


@pytest.fixture
def study(store: Store) -> Iterator[StudyRun]:
    with store.start_study("quickstart") as started:
        yield started


@pytest.fixture
def trial() -> MakeTrial:
    return make_trial


@pytest.fixture
def begin() -> Begin:
    """Begins a trial with plain values for everything that is not given."""

    def call(study: StudyRun, key: str = "k1", **given: Any) -> str:
        labels = {name: given.pop(name) for name in ("condition", "arm", "seed") if name in given}
        tags = {**labels_of(make_trial(key, **labels)), **given.pop("tags", {})}
        plain = {"name": f"trial {key}", "parameters": {"a.b": 1}, "tags": tags}
        return study.begin_trial(key, **plain | given)

    return call


def make_trial(
    key: str, *, condition: str = "symmetric 0.4", arm: str = "full", seed: int = 0
) -> Trial:
    """A trial of the settings that every trial has."""
    return Trial(
        key=key,
        condition=condition,
        condition_values={},
        arm=arm,
        seed=seed,
        base_seed=0,
        config=TrialConfig(),
    )
