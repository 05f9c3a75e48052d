"""The number of threads that a trial computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dynaloss.config.trial import ResourcesConfig
from dynaloss.lazy import torch


def num_threads(cpu: float) -> int:
    """Number of threads of a trial with that many cores; at least one.

    Every backend uses it: with other threads, sums may be rounded differently.
    """
    return max(1, int(cpu))


@contextmanager
def trial_threads(resources: ResourcesConfig) -> Iterator[None]:
    """Sets the number of threads of a trial within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads(resources.cpu))
    try:
        yield
    finally:
        torch.set_num_threads(before)
