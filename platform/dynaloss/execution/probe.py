"""Measures what a plan costs: one short trial of every size, in this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dynaloss.analysis.forecast import TrialCost, curves_mib
from dynaloss.config.trial import ResourcesConfig, TrialConfig
from dynaloss.errors import DynalossError
from dynaloss.execution.backends.contract import sigterm_as_sigint
from dynaloss.execution.recording import mib_in, write_artifacts
from dynaloss.execution.trial.inputs import Sources
from dynaloss.execution.trial.process import trial_threads
from dynaloss.execution.trial.runner import TrialOrder, TrialRunner
from dynaloss.lazy import torch
from dynaloss.studies.cost_groups import cost_group, warmup_length
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.data.sources import Source


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
    costs: dict[str, TrialCost] = {}
    with sigterm_as_sigint(), trial_threads(resources):
        for number, (trial, *others) in enumerate(groups.values(), start=1):
            name = f"{trial.arm} · {trial.condition}"
            console.print(f"probe {number} of {len(groups)}: {name}", soft_wrap=True)
            with tempfile.TemporaryDirectory(prefix="dynaloss-probe-") as folder:
                probe = _measured(trial, sources.of(trial.config.data), resources, Path(folder))
            costs |= {one.key: probe.scaled_to(one.config) for one in (trial, *others)}
    return costs


def trials_at_once(resources: ResourcesConfig) -> int:
    """Number of trials that fit on this machine at the same time; at least 1."""
    if resources.stack > 1:
        return resources.stack
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fits = [int((cpus or 1) / resources.cpu)]
    if resources.gpu:
        fits.append(int(torch.cuda.device_count() / resources.gpu))
    return max(1, min(fits))


def _measured(trial: Trial, source: Source, resources: ResourcesConfig, folder: Path) -> _Probe:
    """Trains a shortened trial to its end; its files go into an empty folder."""
    order = TrialOrder.of(replace(trial, config=_shortened(trial.config)), folder, fresh=True)
    runner = TrialRunner(order, source, resources.gpu)
    first = result = runner.step()
    while result.outcome is None:
        result = runner.step()
    if result.outcome is not Outcome.COMPLETED:
        raise DynalossError(f"the probe of {trial.name} {result.outcome}: {result.message}")
    artifacts = folder / "artifacts"  # apart from a checkpoint
    artifacts.mkdir()
    write_artifacts(trial, result.diagnostics, artifacts)
    last = result.reports[-1][1]
    # A stacked trial waits for the others: at most for all that they compute by themselves.
    waiting = resources.stack
    return _Probe(
        warmup_seconds=waiting * first.reports[-1][1]["time/epoch_seconds"],
        seconds=waiting * last["time/epoch_seconds"],
        peak_mib=last["memory/peak_mib"],
        checkpoint_mib=last["disk/checkpoint_mib"],
        artifacts_mib=mib_in(artifacts),
        metrics=len(last),
    )


def _shortened(config: TrialConfig) -> TrialConfig:
    """Two epochs: the last one as the last one is planned, the first one of warm-up if any."""
    epochs, warmup = config.schedule.epochs, warmup_length(config)
    kept = {"epochs": min(2, epochs)}
    kept["warmup_epochs"] = kept["epochs"] if warmup == epochs else min(1, warmup)
    return config.model_copy(update={"schedule": config.schedule.model_copy(update=kept)})
