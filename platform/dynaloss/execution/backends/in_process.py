"""This process as a backend: one trial after the other, without Ray."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from dynaloss.config.trial import ResourcesConfig
from dynaloss.errors import InputError
from dynaloss.execution.backends.contract import Listener, Work, note_on_retry, sigterm_as_sigint
from dynaloss.execution.trial.process import trial_threads
from dynaloss.execution.trial.runner import TrialRunner
from dynaloss.lazy import torch


@dataclass(frozen=True, slots=True)
class InProcess:
    """Runs trials in this process.

    Args:
        resources: What a trial occupies: its threads, and whether it trains on a GPU.
    """

    resources: ResourcesConfig
    slots: int = 1

    def run(self, work: Work, listener: Listener) -> None:
        """See `Backend.run`.

        Raises:
            InputError: If a GPU is wanted where there is none: the keys name the device.
        """
        require_gpu(self.resources)
        with sigterm_as_sigint(), trial_threads(self.resources), suppress(KeyboardInterrupt):
            for order in filter(None, work.orders):
                for tries_left in reversed(range(work.retries + 1)):
                    runner = TrialRunner(order, work.sources[order.source], self.resources.gpu)
                    if _has_ended(runner, order.key, listener, tries_left):
                        break


def require_gpu(resources: ResourcesConfig) -> None:
    """Raises InputError if this process has no GPU although trials are to train on one."""
    if resources.gpu and not torch.cuda.is_available():
        raise InputError(
            f"resources.gpu must be at most the 0 that this machine has, but got {resources.gpu:g}"
        )


def _has_ended(runner: TrialRunner, key: str, listener: Listener, tries_left: int) -> bool:
    """Runs a trial; False if it is to be tried again."""
    try:
        while True:
            result = runner.step()
            if result.may_pass and tries_left:
                listener.note(key, note_on_retry(result.message))
                return False
            if not listener.take(key, result):
                return True
    except BaseException:
        runner.save()
        raise
