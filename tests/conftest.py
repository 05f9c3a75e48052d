"""What tests of several layers share."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all that starts Ray on one worker, one after the other: each takes every core."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def empty_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with an empty database, which takes MLflow seconds to make."""
    from dynaloss.tracking import Workspace

    storage = tmp_path_factory.mktemp("empty")
    Workspace(storage, f"sqlite:///{storage / 'mlflow.db'}").open_store()
    return storage
