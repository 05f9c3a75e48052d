from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dynaloss.tracking.lineage import source_tags

COMMIT = "mlflow.source.git.commit"
DIRTY = "mlflow.source.git.dirty"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")
    (tmp_path / "file").write_text("a")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_a_commit_and_whether_it_was_changed(repository: Path) -> None:
    tags = source_tags(repository)
    assert len(tags[COMMIT]) == 40
    assert tags[DIRTY] == "false"
    (repository / "file").write_text("b")
    assert source_tags(repository) == tags | {DIRTY: "true"}


def test_without_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert source_tags(tmp_path).keys() == {
        "mlflow.user",
        "mlflow.source.name",
        "mlflow.source.type",
    }


def test_without_git_there_is_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert COMMIT not in source_tags(repository)


def test_a_user_without_an_entry_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("dynaloss.tracking.lineage.getpass.getuser", refuse)
    assert source_tags()["mlflow.user"] == "unknown"
