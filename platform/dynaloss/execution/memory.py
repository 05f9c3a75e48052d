"""Peak memory of a trial: of its process on the CPU, of its tensors on a GPU."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["peak_mib", "reset_peak"]


def reset_peak(device: torch.device) -> None:
    """Forgets the peak of the trials that the process served before.

    Where the system keeps no peak that can be reset (it does on Linux), a later trial's peak is
    that of the process so far.
    """
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: torch.device) -> float:
    """Peak since `reset_peak`, in MiB.

    Of the resident memory of the process, libraries and data included, or on a GPU of what
    PyTorch's allocator has handed out.
    """
    if device.type == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
