"""Memory that a trial's process frees and asks for again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Page faults of batches whose four arrays of 16 MiB come and go, after the first batch.
_BATCHES = """
import resource, sys
import numpy as np
from dynaloss.execution.trial.process import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def batch():
    return [np.ones(2**21) for _ in range(4)]
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(which: str) -> int:
    command = [sys.executable, "-c", _BATCHES, which]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="acts on glibc alone")
def test_freed_memory_is_reused_without_asking_the_system() -> None:
    assert _faults("kept") * 20 < _faults("given back")
