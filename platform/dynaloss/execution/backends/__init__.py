"""Where trials run: Ray, or this process, one at a time or stacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from dynaloss.config.trial import ResourcesConfig
from dynaloss.execution.backends.contract import Backend, Listener, Work
from dynaloss.lazy import torch

__all__ = ["Backend", "Listener", "Work", "open_backend", "shortages"]


def shortages(resources: ResourcesConfig) -> Iterator[str]:
    """What a trial needs and this machine does not have; of a cluster nothing is known.

    A stack trains on this machine, whatever RAY_ADDRESS says.
    """
    if address := os.environ.get("RAY_ADDRESS"):
        if resources.stack == 1:
            return
        yield f"resources.stack is {resources.stack}: no trial runs on the cluster at {address}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    have = {"cpu": cores or 1, "gpu": torch.cuda.device_count() if resources.gpu else 0}
    for name, amount in have.items():
        if (needed := getattr(resources, name)) > amount:
            yield f"resources.{name} is {needed:g}, but this machine has {amount}"


def open_backend(
    resources: ResourcesConfig, *, in_process: bool, slots: int | None = None
) -> AbstractContextManager[Backend]:
    """The backend of a launch; Ray, if it is the one, starts while the caller goes on.

    Args:
        resources: What a trial occupies.
        in_process: Whether trials run one at a time in this process, without Ray; where
            `resources.stack` is above 1, they run stacked in this process anyway.
        slots: Most trials at a time; by default as many as fit.
    """
    if resources.stack > 1:
        from dynaloss.execution.backends.stacked import Stacked

        return nullcontext(Stacked(resources, slots))
    if in_process:
        from dynaloss.execution.backends.in_process import InProcess

        return nullcontext(InProcess(resources))
    from dynaloss.execution.backends.ray_process import ray_backend

    return ray_backend(resources, slots)
