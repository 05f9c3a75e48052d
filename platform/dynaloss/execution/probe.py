"""What a plan will cost, measured: a short trial of every size that it has, in this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from dynaloss.analysis.forecast import TrialCost, curves_mib
from dynaloss.config.trial import TrialConfig
from dynaloss.errors import DynalossError
from dynaloss.execution.ablation import Sources, order_of
from dynaloss.execution.trial.artifacts import mib_in, write_artifacts
from dynaloss.execution.trial.runner import StepResult, TrialRunner
from dynaloss.execution.trial.threads import trial_threads
from dynaloss.studies.cost_groups import cost_group, warmup_length
from dynaloss.studies.plan import Trial
from dynaloss.studies.study import ResourcesConfig
from dynaloss.studies.trial_record import Outcome

__all__ = ["probe_costs", "trials_at_once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """What a short trial came to; times are of one epoch."""

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

    A probe trains two epochs, the first one of warm-up where the trial has both kinds, and takes
    each kind at its own number. It runs alone: trials that share a memory bus take longer.

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
    with trial_threads(resources), tempfile.TemporaryDirectory(prefix="dynaloss-probe-") as folder:
        for number, group in enumerate(groups.values(), start=1):
            name = f"{group[0].arm} · {group[0].condition}"
            console.print(f"probe {number} of {len(groups)}: {name}", soft_wrap=True)
            probe = _probe(group[0], sources, resources.gpu, Path(folder) / str(number))
            costs |= {trial.key: probe.scaled_to(trial.config) for trial in group}
    return costs


def trials_at_once(resources: ResourcesConfig) -> int:
    """How many trials fit on this machine at the same time; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fits = [int((cpus or 1) / resources.cpu)]
    if resources.gpu:
        import torch

        fits.append(int(torch.cuda.device_count() / resources.gpu))
    return max(1, min(fits))


def _probe(trial: Trial, sources: Sources, gpus: float, folder: Path) -> _Probe:
    folder.mkdir()
    order = order_of(replace(trial, config=_shortened(trial.config)), folder, fresh=True)
    runner = TrialRunner(order, sources.of(trial.config.data), gpus)
    results = list(_until_the_end(runner, trial))
    first, last = results[0].reports[-1][1], results[-1].reports[-1][1]
    write_artifacts(trial, results[-1].diagnostics, folder)
    return _Probe(
        warmup_seconds=first["time/epoch_seconds"],
        seconds=last["time/epoch_seconds"],
        peak_mib=last["memory/peak_mib"],
        checkpoint_mib=last["disk/checkpoint_mib"],
        artifacts_mib=mib_in(folder),
        metrics=len(last),
    )


def _shortened(config: TrialConfig) -> TrialConfig:
    """Two epochs: the last one as the last one is planned, the first one of warm-up if any."""
    epochs, warmup = config.schedule.epochs, warmup_length(config)
    kept = {"epochs": min(2, epochs)}
    kept["warmup_epochs"] = kept["epochs"] if warmup == epochs else min(1, warmup)
    return config.model_copy(update={"schedule": config.schedule.model_copy(update=kept)})


def _until_the_end(runner: TrialRunner, trial: Trial) -> Iterator[StepResult]:
    while True:
        result = runner.step()
        if result.outcome not in (None, Outcome.COMPLETED):
            raise DynalossError(f"the probe of {trial.name} {result.outcome}: {result.message}")
        yield result
        if result.outcome is not None:
            return
