"""The threads that a trial computes with in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dynaloss.design.study import ResourcesConfig

__all__ = ["trial_threads"]


@contextmanager
def trial_threads(resources: ResourcesConfig) -> Iterator[None]:
    """As many threads as a trial has cores, at least one, for as long as the block lasts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(resources.cpu)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
