"""Where a run came from: user, program and git commit, under the tags that MLflow's UI reads.

And what it ran on: system, Python and the versions of the packages that decide its numbers.
"""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

__all__ = ["source_tags"]

_ENVIRONMENT: Final = "dynaloss.environment"
_PACKAGES: Final = ("dynaloss", "torch", "torchvision", "numpy", "ray", "mlflow")


def source_tags(folder: Path | None = None) -> dict[str, str]:
    """The tags of origin of a launch from `folder`, by default the current one."""
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "dynaloss"
    origin = {
        "mlflow.user": _user(),
        "mlflow.source.name": name,
        "mlflow.source.type": "LOCAL",
    }
    return origin | _git_tags(folder or Path.cwd()) | _environment_tags()


def _environment_tags() -> dict[str, str]:
    versions = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # a checkout on the path, not installed
            continue
    return {f"{_ENVIRONMENT}.{name}": value for name, value in versions.items()}


def _git_tags(folder: Path) -> dict[str, str]:
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.dirty": "true" if changes else "false",
    }


def _git(folder: Path, *arguments: str) -> str:
    """What git answers; empty without git, without a repository or without a commit."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no entry
        return "unknown"
