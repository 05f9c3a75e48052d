"""Runs one trial epoch by epoch, resumable from a checkpoint; knows no scheduler."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.config.limits import LimitsConfig
from dynaloss.config.outside import folders_looked_in
from dynaloss.config.trial import TrialConfig
from dynaloss.errors import InputError
from dynaloss.execution.trial.assembly import AssembledTrial, assemble_trial, trial_device
from dynaloss.execution.trial.checkpoints import CheckpointFile
from dynaloss.execution.trial.process import (
    environment,
    keep_freed_memory,
    peak_mib,
    reset_peak,
)
from dynaloss.lazy import torch
from dynaloss.studies.identity import origins
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.data.sources import Source
    from dynaloss.learning.reports import EpochReport
    from dynaloss.learning.stacked_passes import Ask
    from dynaloss.studies.plan import Trial

_CHECKPOINT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """What a runner needs to know of a trial, as plain values that other processes can be sent.

    Attributes:
        key: Key of the trial.
        config: The resolved configuration, as plain values.
        source: Name of its data source; see `DataConfig.source_key`.
        seed: Trial seed.
        base_seed: Study seed.
        checkpoints: Folder of the study's checkpoints.
        fresh: Whether an existing checkpoint is ignored.
        folders: Where the process imports from, too; see `look_also_in`.
        origins: Origin of each kind of another package, as the key has it.
        save_at: Epochs after which the state is saved before they are reported.
        epoch_seconds: Longest time of an epoch, where a process can be ended; None for no limit.
        checkpoint_gb: Most that the checkpoints of the study may take; None for no limit.
        share: Times the study's resources that it occupies, so that fewer run beside it.
        keeps_model: Whether the trained classifier is written at the end; see `model_file`.
    """

    key: str
    config: dict[str, Any]
    source: str
    seed: int
    base_seed: int
    checkpoints: str
    fresh: bool = False
    folders: tuple[str, ...] = ()
    origins: dict[str, str] = field(default_factory=dict)
    save_at: tuple[int, ...] = ()
    epoch_seconds: float | None = None
    checkpoint_gb: float | None = None
    share: float = 1.0
    keeps_model: bool = False

    @classmethod
    def of(
        cls,
        trial: Trial,
        checkpoints: Path,
        *,
        fresh: bool = False,
        save_at: tuple[int, ...] = (),
        limits: LimitsConfig | None = None,
    ) -> TrialOrder:
        """The order of a planned trial, with checkpoints in that folder."""
        limits = limits or LimitsConfig()
        found = origins(trial.config)
        return cls(
            key=trial.key,
            config=trial.config.model_dump(),
            source=trial.config.data.source_key,
            seed=trial.seed,
            base_seed=trial.base_seed,
            checkpoints=str(checkpoints),
            fresh=fresh,
            folders=folders_looked_in() if found else (),
            origins=found,
            save_at=save_at,
            epoch_seconds=limits.epoch_seconds,
            checkpoint_gb=limits.checkpoint_gb,
            keeps_model=limits.models != "none",
        )

    @property
    def hang_file(self) -> Path:
        """Where the process of the trial tells what it was doing when an epoch took too long."""
        return Path(self.checkpoints) / f"{self.key}.hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One epoch's report, or the end of the trial, or both; or where it resumes.

    Attributes:
        reports: (epoch, metrics) pairs: that of the epoch, or those of an earlier launch when a
            trial resumes from a checkpoint.
        resumed_from: Last epoch of that checkpoint, in the result that holds its reports; else 0.
        notes: What the user has to know of the trial, one sentence each, once.
        outcome: How the trial ended, or None before its end.
        message: Why it ended so, where that is not obvious.
        may_pass: Whether another try may help.
        needs_memory: Whether it has failed for want of memory.
        data: What was done to the data; only in the first result of a launch.
        environment: What the trial computes on, see `environment`; likewise.
        diagnostics: What the trial learned, by artifact name; only at the end.
    """

    reports: tuple[tuple[int, dict[str, float]], ...] = ()
    resumed_from: int = 0
    notes: tuple[str, ...] = ()
    outcome: Outcome | None = None
    message: str = ""
    may_pass: bool = False
    needs_memory: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)


def model_file(checkpoints: Path, key: str) -> Path:
    """Where the classifier of a completed trial waits for the launch to keep it."""
    return checkpoints / f"{key}.safetensors"


class TrialRunner:
    """Runs one trial; every call of `step` is one epoch, and no error leaves it.

    The first call for a trial that resumes trains nothing: it says at once where it goes on.

    Args:
        order: The trial.
        source: Its data.
        gpus: GPUs that the trial was given; 0 trains on the CPU.
        ask: See `Trainer`.
    """

    def __init__(
        self, order: TrialOrder, source: Source, gpus: float, ask: Ask | None = None
    ) -> None:
        self._order = order
        self._source = source
        self._ask = ask
        self._device = trial_device(gpus)
        most_bytes = None if order.checkpoint_gb is None else order.checkpoint_gb * 1e9
        self._checkpoint = CheckpointFile(Path(order.checkpoints), order.key, most_bytes)
        self._has_room = True
        self._written = time.monotonic()
        self._history: list[tuple[int, dict[str, float]]] = []
        self._notes: tuple[str, ...] = ()
        self._trial: AssembledTrial | None = None
        self._is_between_epochs = True

    def step(self) -> StepResult:
        """Trains an epoch; an error is returned as the trial's outcome."""
        from dynaloss.learning.reports import Diverged

        try:
            return self._step()
        except Diverged as error:
            return StepResult(outcome=Outcome.DIVERGED, message=str(error))
        except Exception as error:  # the other trials continue, and the summary names this one
            message = traceback.format_exc()
            return StepResult(
                outcome=Outcome.FAILED,
                message=message,
                may_pass=_may_pass(error),
                needs_memory=_needs_memory(error),
            )

    def save(self) -> None:
        """Writes the checkpoint, if an epoch has been trained and none was left unfinished."""
        if self._trial is not None and self._history and self._is_between_epochs:
            has_room = self._checkpoint.write(self._state(self._trial))
            if self._has_room and not has_room:
                self._notes += ("no room for its checkpoint: limits.checkpoint_gb is reached",)
            self._has_room = has_room
            self._written = time.monotonic()

    def _step(self) -> StepResult:
        # An error or Ctrl-C inside an epoch leaves weights that no resumed trial may start from.
        self._is_between_epochs = False
        first = self._trial is None
        trial = self._trial = self._trial or self._assemble()
        resumed_from = self._history[-1][0] if first and self._history else 0
        reports = tuple(self._history)
        if not resumed_from:
            report = next(trial.trainer.epochs(), None)
            if report is not None:
                self._remember(trial, report)
            reports = tuple(self._history[-1:] if report is not None else ())
        self._is_between_epochs = True
        notes, self._notes = self._notes, ()
        result = StepResult(
            reports=reports,
            resumed_from=resumed_from,
            notes=notes,
            data=trial.data_record if first else {},
            environment=environment(self._device) if first else {},
        )
        if trial.trainer.is_done:
            diagnostics = self._diagnostics(trial)
            if self._order.keeps_model:
                result = replace(result, notes=(*result.notes, *self._save_model(trial)))
            return replace(result, outcome=Outcome.COMPLETED, diagnostics=diagnostics)
        is_due = time.monotonic() - self._written > _CHECKPOINT_SECONDS
        if is_due or (not resumed_from and self._history[-1][0] in self._order.save_at):
            self.save()
        return result

    def _assemble(self) -> AssembledTrial:
        keep_freed_memory()
        reset_peak(self._device)
        config = TrialConfig.model_validate(self._order.config)
        _require(self._order.origins, origins(config))
        trial = assemble_trial(
            config,
            seed=self._order.seed,
            base_seed=self._order.base_seed,
            source=self._source,
            device=self._device,
            ask=self._ask,
        )
        state, damaged = (None, []) if self._order.fresh else self._checkpoint.read()
        self._notes = tuple(f"the checkpoint {path} is damaged and not used" for path in damaged)
        if state is not None:
            trial.trainer.load_state_dict(state["trainer"])
            self._history = [(epoch, metrics) for epoch, metrics in state["history"]]
        return trial

    def _remember(self, trial: AssembledTrial, report: EpochReport) -> None:
        """Adds the costs of the trial so far to the epoch's metrics."""
        before = self._history[-1][1] if self._history else {}
        seconds = before.get("time/trial_seconds", 0.0) + report.metrics["time/epoch_seconds"]
        peak = max(before.get("memory/peak_mib", 0.0), peak_mib(self._device))
        metrics = {**report.metrics, "time/trial_seconds": seconds, "memory/peak_mib": peak}
        self._history.append((report.epoch, metrics))
        if trial.trainer.is_done:
            size = self._checkpoint.size_of(self._state(trial))
            metrics["disk/checkpoint_mib"] = size / 2**20

    def _save_model(self, trial: AssembledTrial) -> list[str]:
        """Writes the classifier; returns a note where that fails, as the trial is good without."""
        from dynaloss.data.views.weak_and_strong import Views
        from dynaloss.learning.models.saved import save_model

        config, source = TrialConfig.model_validate(self._order.config), self._source
        views = Views.of_source(source, torch.device("cpu"), config.data.views)
        try:
            save_model(
                model_file(Path(self._order.checkpoints), self._order.key),
                trial.trainer.model,
                config,
                input_shape=source.input_shape,
                mean=views.mean.flatten().tolist(),
                std=views.std.flatten().tolist(),
                class_names=trial.data_record["class_names"],
            )
        except Exception as error:  # a full disk, or a model that its format cannot hold
            return [f"its classifier could not be kept: {error}"]
        return []

    def _state(self, trial: AssembledTrial) -> dict[str, Any]:
        return {"trainer": trial.trainer.state_dict(), "history": self._history}

    def _diagnostics(self, trial: AssembledTrial) -> dict[str, Any]:
        record = trial.data_record
        diagnostics: dict[str, Any] = trial.trainer.diagnostics()
        if "confusion" in diagnostics:
            diagnostics["confusion"]["class_names"] = record["class_names"]
        return diagnostics | {"data": record}


def _may_pass(error: Exception) -> bool:
    """Whether memory, storage or a device has failed, which may be otherwise a moment later."""
    return isinstance(error, (OSError, torch.AcceleratorError)) or _needs_memory(error)


def _needs_memory(error: Exception) -> bool:
    is_known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return is_known or "allocate memory" in str(error)


def _require(planned: Mapping[str, str], imported: Mapping[str, str]) -> None:
    """Raises InputError if a process has imported other source than the key is made of."""
    changed = [key for key in planned if imported.get(key) != planned[key]]
    if changed:
        raise InputError(
            f"[{key}] was planned with '{planned[key]}', but '{imported.get(key)}' was imported: "
            "its source has changed since; run the study again"
            for key in changed
        )
