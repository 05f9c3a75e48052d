"""Where trials run: Ray, or this process."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from dynaloss.config.trial import ResourcesConfig
from dynaloss.execution.backends.contract import Backend, Listener, Work

__all__ = ["Backend", "Listener", "Work", "open_backend"]


def open_backend(
    resources: ResourcesConfig, *, in_process: bool
) -> AbstractContextManager[Backend]:
    """The backend of a launch; Ray is imported only if it is the one.

    Args:
        resources: What a trial occupies.
        in_process: Whether trials run one at a time in this process, without Ray.

    Raises:
        InputError: If Ray does not start, or not even one trial fits.
    """
    if in_process:
        from dynaloss.execution.backends.in_process import InProcess

        return nullcontext(InProcess(resources))
    from dynaloss.execution.backends.ray_cluster import ray_backend

    return ray_backend(resources)
