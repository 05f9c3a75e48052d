"""The threads that a trial computes with in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dynaloss.studies.study import ResourcesConfig

__all__ = ["num_threads", "trial_threads"]


def num_threads(cpu: float) -> int:
    """How many threads a trial with so many cores computes with; at least one.

    All ways to run a trial go by it: other threads may round sums another way.
    """
    return max(1, int(cpu))


@contextmanager
def trial_threads(resources: ResourcesConfig) -> Iterator[None]:
    """The threads of a trial for as long as the block lasts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(num_threads(resources.cpu))
    try:
        yield
    finally:
        torch.set_num_threads(before)
