"""Measures what a plan costs: one short trial of every size, in this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dynaloss.analysis.forecast import TrialCost, curves_mib
from dynaloss.config.trial import ResourcesConfig, TrialConfig
from dynaloss.errors import DynalossError
from dynaloss.execution.backends import Work, open_backend
from dynaloss.execution.trial.artifacts import mib_in, write_artifacts
from dynaloss.execution.trial.inputs import Sources
from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.lazy import torch
from dynaloss.studies.cost_groups import cost_group, warmup_length
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """Costs of a short trial; times are of one epoch."""

    warmup_seconds: float
    seconds: float
    peak_mib: float
    checkpoint_mib: float
    artifacts_mib: float
    metrics: int

    def scaled_to(self, config: TrialConfig) -> TrialCost:
        """Cost of a trial of that length."""
        epochs, warmup = config.schedule.epochs, warmup_length(config)
        return TrialCost(
            seconds=warmup * self.warmup_seconds + (epochs - warmup) * self.seconds,
            peak_mib=self.peak_mib,
            checkpoint_mib=self.checkpoint_mib,
            stored_mib=self.artifacts_mib + curves_mib(epochs, self.metrics),
        )


def probe_costs(
    trials: Sequence[Trial], resources: ResourcesConfig, console: Console
) -> dict[str, TrialCost]:
    """Cost of each trial by its key, from one probe per size; nothing is recorded.

    A probe trains two epochs, the first one of warm-up if the trial has both kinds, and scales
    each kind by its number. It runs alone: trials that share a memory bus take longer.

    Args:
        trials: What would run.
        resources: What a trial occupies; its threads and device are the probe's.
        console: Where progress is shown.

    Raises:
        InputError: If the data are not there or cannot be biased so.
        DynalossError: If a probe fails.
    """
    sources = Sources()
    sources.check((t.config, t.seed, t.base_seed) for t in trials)
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(cost_group(trial.config), []).append(trial)
    first = {group[0].key: group[0] for group in groups.values()}
    listener = _Listener(first)
    with (
        open_backend(resources, in_process=True) as backend,
        tempfile.TemporaryDirectory(prefix="dynaloss-probe-") as folder,
    ):
        work = Work(
            orders=_orders(list(first.values()), Path(folder), console),
            sources=sources.named(trial.config.data for trial in first.values()),
            most=len(first),
        )
        backend.run(work, listener)
    if len(listener.probes) < len(first):
        raise KeyboardInterrupt
    return {
        trial.key: listener.probes[group[0].key].scaled_to(trial.config)
        for group in groups.values()
        for trial in group
    }


def trials_at_once(resources: ResourcesConfig) -> int:
    """Number of trials that fit on this machine at the same time; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fits = [int((cpus or 1) / resources.cpu)]
    if resources.gpu:
        fits.append(int(torch.cuda.device_count() / resources.gpu))
    return max(1, min(fits))


def _orders(
    trials: Sequence[Trial], folder: Path, console: Console
) -> Iterator[tuple[TrialOrder, str]]:
    for number, trial in enumerate(trials, start=1):
        name = f"{trial.arm} · {trial.condition}"
        console.print(f"probe {number} of {len(trials)}: {name}", soft_wrap=True)
        short = replace(trial, config=_shortened(trial.config))
        yield TrialOrder.of(short, folder, fresh=True), trial.config.data.source_key


class _Listener:
    """Measures each trial; one that fails ends the probing."""

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        self._trials = trials
        self._first: dict[str, dict[str, float]] = {}
        self.probes: dict[str, _Probe] = {}

    def take(self, key: str, result: StepResult) -> bool:
        """Measures a trial at its end; see `Listener.take`."""
        if result.outcome not in (None, Outcome.COMPLETED):
            self.end(key, result.outcome, result.message)
        last = result.reports[-1][1]
        first = self._first.setdefault(key, last)
        if result.outcome is not None:
            self.probes[key] = _measured(self._trials[key], first, last, result.diagnostics)
        return result.outcome is None

    def end(self, key: str, outcome: Outcome, message: str) -> None:
        """Raises DynalossError; see `Listener.end`."""
        raise DynalossError(f"the probe of {self._trials[key].name} {outcome}: {message}")


def _measured(
    trial: Trial,
    first: Mapping[str, float],
    last: Mapping[str, float],
    diagnostics: Mapping[str, Any],
) -> _Probe:
    with tempfile.TemporaryDirectory(prefix="dynaloss-artifacts-") as name:
        write_artifacts(trial, diagnostics, Path(name))
        artifacts_mib = mib_in(Path(name))
    return _Probe(
        warmup_seconds=first["time/epoch_seconds"],
        seconds=last["time/epoch_seconds"],
        peak_mib=last["memory/peak_mib"],
        checkpoint_mib=last["disk/checkpoint_mib"],
        artifacts_mib=artifacts_mib,
        metrics=len(last),
    )


def _shortened(config: TrialConfig) -> TrialConfig:
    """Two epochs: the last one as the last one is planned, the first one of warm-up if any."""
    epochs, warmup = config.schedule.epochs, warmup_length(config)
    kept = {"epochs": min(2, epochs)}
    kept["warmup_epochs"] = kept["epochs"] if warmup == epochs else min(1, warmup)
    return config.model_copy(update={"schedule": config.schedule.model_copy(update=kept)})
