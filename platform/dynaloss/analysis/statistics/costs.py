"""Costs of the arms, next to their gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dynaloss.analysis.statistics.comparison import Comparison
from dynaloss.analysis.statistics.intervals import mean, mean_by_arm
from dynaloss.studies.trial_record import TrialRecord

_TRIAL_SECONDS = "time/trial_seconds"
_EPOCH_SECONDS = "time/epoch_seconds"
_PEAK_MEMORY = "memory/peak_mib"
# What gives a cost: last values and curves.
METRICS = (_TRIAL_SECONDS, _EPOCH_SECONDS, _PEAK_MEMORY, "epoch")
CURVES = (_EPOCH_SECONDS,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An arm's cost and gain.

    Attributes:
        arm: Name of the arm.
        seconds: Wall time of a trial, mean over the completed ones.
        ratio: The same as a multiple of the baseline's; None without one.
        peak_mib: Peak memory of a trial in MiB, mean over those that recorded it; None without.
        gain: Mean over the conditions of the paired difference; None without one.
    """

    arm: str
    seconds: float
    ratio: float | None
    peak_mib: float | None
    gain: float | None


def costs(records: Sequence[TrialRecord], comparison: Comparison) -> tuple[Cost, ...]:
    """Cost of every arm with a completed trial that recorded its time, in order of the arms."""
    seconds = mean_by_arm(records, trial_seconds)
    memory = mean_by_arm(records, lambda record: record.metrics.get(_PEAK_MEMORY))
    gains: dict[str, list[float]] = {}
    for cell in comparison.cells:
        if cell.difference:
            gains.setdefault(cell.arm, []).append(cell.difference.mean)
    reference = seconds.get(comparison.baseline or "")
    return tuple(
        Cost(
            arm=arm,
            seconds=seconds[arm],
            ratio=seconds[arm] / reference if reference else None,
            peak_mib=memory.get(arm),
            gain=mean(gains[arm]) if arm in gains else None,
        )
        for arm in comparison.arms
        if arm in seconds
    )


def trial_seconds(record: TrialRecord) -> float | None:
    """Wall time of all epochs; where no sum is recorded, that of the curve or of its last value.

    Of a trial that recorded its last epoch's time alone, every epoch counts as long as that.
    """
    total = record.metrics.get(_TRIAL_SECONDS)
    if total is not None:
        return total
    curve = record.history.get(_EPOCH_SECONDS)
    if curve:
        return math.fsum(seconds for _, seconds in curve)
    last = record.metrics.get(_EPOCH_SECONDS)
    epochs = record.metrics.get("epoch", record.parameters.get("schedule.epochs"))
    return None if last is None or epochs is None else last * float(epochs)
