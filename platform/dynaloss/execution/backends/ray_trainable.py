"""A trial as a Ray Trainable, whose actor serves one trial after another."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune

from dynaloss.config.outside import extend_path, look_also_in
from dynaloss.config.trial import ResourcesConfig
from dynaloss.execution.trial.runner import StepResult, TrialOrder, TrialRunner

RESULT_KEY = "step_result"
"""Entry of a Ray result that holds the `StepResult`."""


class TrialTrainable(tune.Trainable):  # type: ignore[misc] # Ray has no types
    """Steps through one trial, an epoch a step.

    The configuration holds the `order` of the trial and its `cpu` and `gpu` share. Ray's own
    checkpoints are not used: the runner writes its own, and every launch starts from those.
    """

    _order: TrialOrder
    _runner: TrialRunner

    def setup(
        self, config: dict[str, Any], sources: Mapping[str, ray.ObjectRef[Any]] | None = None
    ) -> None:
        """Prepares a trial; `sources` holds every data source, once per node."""
        import torch

        torch.set_num_threads(ResourcesConfig(cpu=config["trial"]["cpu"]).threads)
        self._sources = sources or {}
        self._begin(config["trial"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Switches to another trial in the same process."""
        self._begin(new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """Trains an epoch; ends the process if that takes too long."""
        with _limited(self._order):
            result: StepResult = self._runner.step()
        return {RESULT_KEY: result, "done": result.outcome is not None}

    def cleanup(self) -> None:
        """Saves the state of a trial that is stopped before its end."""
        self._runner.save()

    def _begin(self, config: dict[str, Any]) -> None:
        order = self._order = TrialOrder(**config["order"])
        look_also_in(order.folders)
        extend_path()  # before the source is read, which may need it
        self._runner = TrialRunner(order, ray.get(self._sources[order.source]), config["gpu"])


@contextmanager
def _limited(order: TrialOrder) -> Iterator[None]:
    """Ends the process, after a note of where it was, if the block takes too long."""
    if order.epoch_seconds is None:
        yield
        return
    order.hang_file.parent.mkdir(parents=True, exist_ok=True)
    with order.hang_file.open("w") as file:
        faulthandler.dump_traceback_later(order.epoch_seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    order.hang_file.unlink(missing_ok=True)
