"""What tests of several layers share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

Facts = tuple[str, frozenset[str]]
_FACT = re.compile(
    r"'[^']*'|`[^`]*`|[a-z_]+(?:\.[a-z_]+)+|-?\d+(?:\.\d+)?(?:e-?\d+)?|\b(?:null|true|false)\b"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all that starts Ray on one worker, one after the other: each takes every core."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def facts_of() -> Callable[[str], Facts]:
    """Place of a problem, and the names, keys, values and numbers that its sentence holds.

    Messages are compared by these: a sentence can be reworded, but no fact changed or left out.
    """

    def facts(problem: str) -> Facts:
        place, bracket, sentence = problem.partition("]")
        return place + bracket, frozenset(_FACT.findall(sentence))

    return facts


@pytest.fixture(scope="session")
def empty_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with an empty database, which takes MLflow seconds to make."""
    from dynaloss.tracking import Workspace

    storage = tmp_path_factory.mktemp("empty")
    Workspace(storage, f"sqlite:///{storage / 'mlflow.db'}").open_store()
    return storage
