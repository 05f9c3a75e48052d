"""Runs one trial epoch by epoch, with a checkpoint to go on from; knows no scheduler."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.design.config import TrialConfig
from dynaloss.design.record import Outcome
from dynaloss.execution.assembly import AssembledTrial, assemble_trial, trial_device
from dynaloss.execution.checkpoints import CheckpointFile

if TYPE_CHECKING:
    from dynaloss.data.sources import Source
    from dynaloss.learning.trainer import EpochReport

__all__ = ["StepResult", "TrialOrder", "TrialRunner"]

CHECKPOINT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """What a runner has to know of a trial; plain values, fit to be sent to another process.

    Attributes:
        key: Key of the trial.
        config: The resolved configuration, as plain values.
        seed: Trial seed.
        base_seed: Study seed.
        checkpoints: Folder of the study's checkpoints.
        fresh: Whether an existing checkpoint is ignored.
    """

    key: str
    config: dict[str, Any]
    seed: int
    base_seed: int
    checkpoints: str
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One epoch's report, or the end of the trial, or both.

    Attributes:
        reports: (epoch, metrics) pairs: the last epoch, and before it those of an earlier launch
            when a trial goes on from a checkpoint.
        outcome: How the trial ended, or None while it goes on.
        message: Why it ended so, where that is not plain.
        diagnostics: What the trial learned, by artifact name; only at the end.
    """

    reports: tuple[tuple[int, dict[str, float]], ...] = ()
    outcome: Outcome | None = None
    message: str = ""
    diagnostics: dict[str, Any] = field(default_factory=dict)


class TrialRunner:
    """Runs one trial; every call of `step` is one epoch, and no error leaves it.

    Args:
        order: The trial.
        source: Its data.
        gpus: GPUs that the trial was given; 0 trains on the CPU.
    """

    def __init__(self, order: TrialOrder, source: Source, gpus: float) -> None:
        self._order = order
        self._source = source
        self._gpus = gpus
        self._checkpoint = CheckpointFile(Path(order.checkpoints), order.key)
        self._written = time.monotonic()
        self._history: list[tuple[int, dict[str, float]]] = []
        self._trial: AssembledTrial | None = None

    def step(self) -> StepResult:
        """Trains an epoch; what goes wrong is returned as the trial's outcome."""
        from dynaloss.learning.trainer import Diverged

        try:
            return self._step()
        except Diverged as error:
            return StepResult(outcome=Outcome.DIVERGED, message=str(error))
        except Exception:  # the other trials go on, and the summary tells
            return StepResult(outcome=Outcome.FAILED, message=traceback.format_exc())

    def save(self) -> None:
        """Writes the checkpoint, if an epoch has been trained and the state is a good one."""
        if self._trial is not None and self._history and not self._trial.trainer.has_diverged:
            state = {"trainer": self._trial.trainer.state_dict(), "history": self._history}
            self._checkpoint.write(state)
            self._written = time.monotonic()

    def _step(self) -> StepResult:
        replayed: tuple[tuple[int, dict[str, float]], ...] = ()
        if self._trial is None:
            self._trial = self._assemble()
            replayed = tuple(self._history)
        trainer = self._trial.trainer
        report = next(trainer.epochs(), None)
        if report is not None:
            self._remember(report)
        reports = replayed + tuple(self._history[-1:] if report is not None else ())
        if trainer.epoch < trainer.settings.epochs:
            if time.monotonic() - self._written > CHECKPOINT_SECONDS:
                self.save()
            return StepResult(reports=reports)
        return StepResult(
            reports=reports, outcome=Outcome.COMPLETED, diagnostics=self._diagnostics()
        )

    def _assemble(self) -> AssembledTrial:
        trial = assemble_trial(
            TrialConfig.model_validate(self._order.config),
            seed=self._order.seed,
            base_seed=self._order.base_seed,
            source=self._source,
            device=trial_device(self._gpus),
        )
        state = None if self._order.fresh else self._checkpoint.read()
        if state is not None:
            trial.trainer.load_state_dict(state["trainer"])
            self._history = [(epoch, metrics) for epoch, metrics in state["history"]]
        return trial

    def _remember(self, report: EpochReport) -> None:
        self._history.append((report.epoch, report.metrics))

    def _diagnostics(self) -> dict[str, Any]:
        assert self._trial is not None  # noqa: S101 - set by the caller
        record = self._trial.data_record
        diagnostics: dict[str, Any] = self._trial.trainer.diagnostics()
        if "confusion" in diagnostics:
            diagnostics["confusion"]["class_names"] = record["class_names"]
        return diagnostics | {"data": record}
