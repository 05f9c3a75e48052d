"""What a benchmark ran on: machine, versions, commit and command, for its result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dynaloss.execution.trial.process import processor

__all__ = ["describe"]

PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow", "numpy")


def describe(device: str = "cpu") -> dict[str, object]:
    """The present process's surroundings as plain values.

    Args:
        device: `cpu`, or `cuda` for the name of the accelerator that torch uses.
    """
    import torch

    on_cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if on_cuda else processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the working tree, marked where it has changes."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
