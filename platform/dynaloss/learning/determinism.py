"""Restricts torch to deterministic algorithms for the time of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dynaloss.errors import InputError

# What torch's documentation of `use_deterministic_algorithms` asks for, of CUDA 10.2 or newer.
_WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
_WORKSPACES = (":4096:8", ":16:8")


def check_determinism(device: torch.device) -> None:
    """Refuses a CUDA device where cuBLAS is not set to be deterministic.

    Raises:
        InputError: If the environment lacks what has to be set before CUDA starts.
    """
    given = os.environ.get(_WORKSPACE_VARIABLE)
    if device.type == "cuda" and given not in _WORKSPACES:
        raise InputError(
            f"[schedule.deterministic] needs the environment variable {_WORKSPACE_VARIABLE} on a "
            f"GPU, one of {', '.join(_WORKSPACES)}, but got {given or 'none'}: set it before the "
            f"start, as in `{_WORKSPACE_VARIABLE}={_WORKSPACES[0]} dynaloss ablate ...`."
        )


@contextmanager
def deterministic_algorithms(enabled: bool) -> Iterator[None]:
    """Makes torch refuse what is not deterministic; on leaving, its flags are as they were."""
    if not enabled:
        yield
        return
    cudnn = torch.backends.cudnn
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    flags = cudnn.benchmark, cudnn.deterministic
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        cudnn.benchmark, cudnn.deterministic = flags
