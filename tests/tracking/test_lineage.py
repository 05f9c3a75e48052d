from __future__ import annotations

import subprocess
import sys
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


def test_tags_hold_the_commit_and_whether_files_differ(repository: Path) -> None:
    tags = source_tags(repository)
    assert len(tags[COMMIT]) == 40
    assert tags[DIRTY] == "false"
    (repository / "file").write_text("b")
    assert source_tags(repository) == tags | {DIRTY: "true"}


def test_without_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    tags = source_tags(tmp_path).keys()
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= tags
    assert not {COMMIT, DIRTY} & tags


def test_versions_match_the_imported_packages(tmp_path: Path) -> None:
    import numpy
    import torch

    tags = source_tags(tmp_path)
    assert tags["dynaloss.environment.numpy"] == numpy.__version__
    assert (
        tags["dynaloss.environment.torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    )
    assert tags["dynaloss.environment.python"] == ".".join(map(str, sys.version_info[:3]))


def test_missing_package_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynaloss.tracking.lineage._PACKAGES", ("no-such-package",))
    assert "dynaloss.environment.no-such-package" not in source_tags(tmp_path)


def test_without_git_there_is_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert COMMIT not in source_tags(repository)


def test_user_without_an_entry_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("dynaloss.tracking.lineage.getpass.getuser", refuse)
    assert source_tags()["mlflow.user"] == "unknown"
