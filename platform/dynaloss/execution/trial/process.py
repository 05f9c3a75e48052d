"""The process of a trial: its threads, what it computes on, its memory."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from dynaloss.config.trial import ResourcesConfig
from dynaloss.lazy import torch

# Parameters of glibc's mallopt(3), and their largest values.
_M_TRIM_THRESHOLD, _LARGEST_TRIM_THRESHOLD = -1, 2**31 - 1
_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD = -3, 32 * 2**20


@contextlib.contextmanager
def trial_threads(resources: ResourcesConfig) -> Iterator[None]:
    """Sets the number of threads of a trial within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(resources.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def environment(device: torch.device) -> dict[str, str]:
    """What a trial computes on, as far as that changes how its sums are rounded.

    `processor`, `instruction_set` and `threads` of the CPU, `gpu` where the trial trains on one,
    and `torch_build`: torch's version and the libraries that it computes with.
    """
    backends = torch.backends
    libraries = {
        "MKL": backends.mkl.is_available(),  # type: ignore[no-untyped-call]
        "oneDNN": backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    }
    build = [torch.__version__, *(name for name, is_there in libraries.items() if is_there)]
    found = {
        "processor": processor(),
        "instruction_set": backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "torch_build": " ".join(build),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def processor() -> str:
    """Name of the processor, as Linux gives it, or of its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def keep_freed_memory() -> None:
    """Lets the process keep memory that it frees, where its C library is glibc.

    The tensors of a batch are freed and asked for again by the next one. Left alone, glibc gives
    much of that back to the system, which has to clear each page anew. On the CPU this took 30 %
    of the processor time of a trial of resnet8 on CIFAR-10.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST_TRIM_THRESHOLD)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)


def reset_peak(device: torch.device) -> None:
    """Forgets the peak of the trials that the process served before.

    Where the system keeps no peak that can be reset (it does on Linux), a later trial's peak is
    that of the process so far.
    """
    if device.type == "cuda":
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
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
