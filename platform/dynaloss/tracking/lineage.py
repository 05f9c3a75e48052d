"""Origin of a run: user, program, commit and versions, and its data as MLflow's dataset inputs."""

from __future__ import annotations

import getpass
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynaloss.tracking.schema import Tag

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_ENVIRONMENT: Final = Tag.ENVIRONMENT
_ELSEWHERE: Final = " + "
# Packages that decide the numbers of a run.
_PACKAGES: Final = ("dynaloss", "torch", "torchvision", "numpy", "ray", "mlflow")
_DIGEST: Final = 16  # MLflow accepts up to 36 characters


def source_tags(folder: Path | None = None) -> dict[str, str]:
    """Tags of origin, as MLflow's interface reads them, and of the versions in use.

    The git repository is that of the folder, or of the current one.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no entry
        user = "unknown"
    origin = {
        "mlflow.user": user,
        "mlflow.source.name": Path(*sys.argv[:1]).name or "dynaloss",
        "mlflow.source.type": "LOCAL",
    }
    return origin | _git_tags(folder or Path.cwd()) | _environment_tags()


def dataset_inputs(record: Mapping[str, Any]) -> list[DatasetInput]:
    """One input per role of `TrialSplits.record`, with a digest of its images and labels.

    The digest includes tail and noise.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=record["source"],
                digest=digest[:_DIGEST],
                source_type="dynaloss",
                source=json.dumps({"source": record["source"], "digest": record["digest"]}),
                profile=json.dumps(_profile(record, role)),
            ),
            [InputTag("mlflow.data.context", role)],
        )
        for role, digest in record["split_digests"].items()
    ]


def environment_tags(found: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Tags of what a trial computes on: one for it all, such as `AMD EPYC, AVX512, 1 thread`.

    Args:
        found: Its parts by name, of this launch; empty for none.
        known: Tags of the trial's run, whose earlier epochs may have been computed elsewhere.
    """
    if not found:
        return {}
    threads = f"{found['threads']} thread{'' if found['threads'] == '1' else 's'}"
    cpu = f"{found['processor']}, {found['instruction_set']}, {threads}"
    whole = f"{found.get('gpu', cpu)}, torch {found['torch_build']}"
    places = dict.fromkeys([*filter(None, known.get(_ENVIRONMENT, "").split(_ELSEWHERE)), whole])
    parts = {f"{_ENVIRONMENT}.{name}": value for name, value in found.items()}
    return {_ENVIRONMENT: _ELSEWHERE.join(places), **parts}


def _profile(record: Mapping[str, Any], role: str) -> dict[str, Any]:
    rows = {"num_rows": record["splits"][role]}
    if role != "train":
        return rows
    counted = ("flip_rate", "true_class_counts", "observed_class_counts")
    digests = {name: record[name][:_DIGEST] for name in ("tail_digest", "noise_digest")}
    return rows | {name: record[name] for name in counted} | digests


def _environment_tags() -> dict[str, str]:
    versions = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # a checkout on the path, not installed
            versions[package] = version(package)
    return {f"{_ENVIRONMENT}.{name}": value for name, value in versions.items()}


def _git_tags(folder: Path) -> dict[str, str]:
    if not (commit := _git(folder, "rev-parse", "HEAD")):
        return {}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    dirty = str(bool(changes)).lower()
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    """Output of a git command; empty without git, without a repository or without a commit."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
