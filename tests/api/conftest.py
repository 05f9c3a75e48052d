"""A small study as the content of its file, run once in a folder that the tests share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dynaloss import AblationSummary, Study

SMALL: dict[str, Any] = {
    "study": "small",
    "trial": {
        "data": {"source": "digits", "noise": {"rate": 0.4}, "n_max": 20},
        "model": {"name": "mlp"},
        "loss": {"corrector": {"ranks": 10, "per_class": False, "warm_start": False}},
        "schedule": {"epochs": 3, "warmup_epochs": 1, "batch_size": 64, "ramp_epochs": 1},
    },
    "conditions": {"data.noise.rate": [0.2, 0.4]},
    "ablation": {"components": ["margin"], "baseline": "none"},
    "seeds": [0, 1],
}


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    return SMALL


@pytest.fixture(scope="session")
def run(empty_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> AblationSummary:
    """The small study, run in its own folder."""
    storage = tmp_path_factory.mktemp("small") / "results"
    shutil.copytree(empty_storage, storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Study.load(SMALL).run(storage, in_process=True, progress=False)


@pytest.fixture
def folder(run: AblationSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder whose default workspace is that of the run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DYNALOSS_STORAGE", str(run.workspace.storage))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
