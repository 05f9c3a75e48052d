from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dynaloss.tracking import Workspace
from dynaloss.tracking.client import redacted, sqlite_path


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DYNALOSS_STORAGE", raising=False)


def test_storage_is_the_argument_then_the_environment_then_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Workspace().storage == tmp_path / "results"
    monkeypatch.setenv("DYNALOSS_STORAGE", "elsewhere")
    assert Workspace().storage == tmp_path / "elsewhere"
    assert Workspace(tmp_path / "given").storage == tmp_path / "given"


def test_store_is_the_argument_then_the_environment_then_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Workspace(tmp_path).store_uri == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert Workspace(tmp_path).store_uri == "http://server:5000"
    assert Workspace(tmp_path, "postgresql://db/x").store_uri == "postgresql://db/x"


def test_relative_sqlite_path_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = Workspace(tmp_path, "sqlite:///a/b.db?timeout=9").store_uri
    assert uri == f"sqlite:///{tmp_path}/a/b.db?timeout=9"
    assert sqlite_path(uri) == tmp_path / "a" / "b.db"
    assert Workspace(tmp_path, "sqlite:///./s").store_uri == f"sqlite:///{tmp_path}/s"


@pytest.mark.parametrize(
    ("uri", "own"),
    [
        ("sqlite:////x/mlflow.db", True),
        ("postgresql://u:p@host/db", True),
        ("http://host:5000", False),
        ("https://host", False),
        ("databricks", False),
        ("databricks://profile", False),
        ("mlruns", False),
        ("file:///x/mlruns", False),
    ],
)
def test_server_keeps_its_own_artifacts(uri: str, own: bool, tmp_path: Path) -> None:
    expected = (tmp_path / "artifacts").as_uri() if own else None
    assert Workspace(tmp_path, uri).artifact_root == expected


@pytest.mark.parametrize(
    ("shown", "uri"),
    [
        ("postgresql://***@host/db", "postgresql://me:secret@host/db"),
        ("https://***@host:5000", "https://me:sec/r@t and more@host:5000"),
        ("http:***@host", "http:me:secret@host"),
        ("oracle:***@host", "oracle:/x/me:secret@host"),
        ("mysql://host/db?password=***&ssl=1", "mysql://host/db?password=secret&ssl=1"),
        ("https://host?api_token=***", "https://host?api_token=secret"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////home/me@work/a.db", "sqlite:////home/me@work/a.db"),
    ],
)
def test_displayed_address_hides_the_secrets(shown: str, uri: str) -> None:
    assert redacted(uri) == shown
    assert redacted(f"cannot reach {uri} now") == f"cannot reach {shown} now"


def test_tracking_loads_without_mlflow() -> None:
    code = "import sys, dynaloss.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_launcher_is_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.launcher("s") is None
    with workspace.locked("s"):
        assert workspace.launcher("s") == (os.getpid(), socket.gethostname())
    assert workspace.launcher("s") is None  # whatever the file says
