from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dynaloss.execution.trial.process import environment
from dynaloss.tracking.lineage import environment_tags, source_tags

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


_FOUND = {
    "processor": "Some CPU",
    "instruction_set": "AVX2",
    "threads": "1",
    "torch_build": "2.15.0 MKL",
}
_HERE = "Some CPU, AVX2, 1 thread, torch 2.15.0 MKL"


def test_environment_of_a_trial_is_one_tag_and_its_parts() -> None:
    tags = environment_tags(_FOUND, {})
    parts = {f"dynaloss.environment.{name}": value for name, value in _FOUND.items()}
    assert tags == {"dynaloss.environment": _HERE, **parts}
    assert environment_tags({}, tags) == {}
    gpu = environment_tags({**_FOUND, "gpu": "Some GPU"}, {})
    assert gpu["dynaloss.environment"] == "Some GPU, torch 2.15.0 MKL"


def test_a_trial_that_goes_on_elsewhere_names_both_once() -> None:
    other = {**_FOUND, "threads": "2"}
    tags = environment_tags(other, environment_tags(_FOUND, {}))
    both = f"{_HERE} + Some CPU, AVX2, 2 threads, torch 2.15.0 MKL"
    assert tags["dynaloss.environment"] == both
    for again in (_FOUND, other):
        assert environment_tags(again, tags)["dynaloss.environment"] == both


def test_environment_is_that_of_torch_and_the_system() -> None:
    found = environment(torch.device("cpu"))
    assert found["threads"] == str(torch.get_num_threads())
    assert found["torch_build"].startswith(torch.__version__)
    assert found["instruction_set"] in torch.__config__.show()
    info = Path("/proc/cpuinfo")
    assert not info.exists() or f": {found['processor']}\n" in info.read_text()
