"""What the arms cost, next to what they gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dynaloss.analysis.cells import Comparison
from dynaloss.analysis.statistics import mean
from dynaloss.design.record import Outcome, TrialRecord

__all__ = ["Cost", "costs", "trial_seconds"]

_EPOCH_SECONDS = "time/epoch_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An arm's cost and gain.

    Attributes:
        arm: Name of the arm.
        seconds: Wall time of a trial, mean over the completed ones.
        ratio: The same as a multiple of the baseline's; None without one.
        extra_seconds: Seconds above the baseline's; None without one.
        gain: Mean over the conditions of the paired difference; None without one.
    """

    arm: str
    seconds: float
    ratio: float | None
    extra_seconds: float | None
    gain: float | None


def costs(records: Sequence[TrialRecord], comparison: Comparison) -> tuple[Cost, ...]:
    """Cost of every arm with a completed trial that recorded its time, in order of the arms."""
    by_arm: dict[str, list[float]] = {}
    for record in records:
        seconds = trial_seconds(record)
        if record.outcome is Outcome.COMPLETED and seconds is not None:
            by_arm.setdefault(record.arm, []).append(seconds)
    reference = mean(by_arm.get(comparison.baseline or "", []))
    return tuple(
        _cost(comparison, arm, mean(by_arm[arm]), reference)
        for arm in comparison.arms
        if arm in by_arm
    )


def trial_seconds(record: TrialRecord) -> float | None:
    """Wall time of all epochs; without the curve, the last epoch's time times their number."""
    curve = record.history.get(_EPOCH_SECONDS)
    if curve:
        return math.fsum(seconds for _, seconds in curve)
    last = record.metrics.get(_EPOCH_SECONDS)
    epochs = record.metrics.get("epoch", record.parameters.get("schedule.epochs"))
    return None if last is None or epochs is None else last * float(epochs)


def _cost(comparison: Comparison, arm: str, seconds: float, reference: float) -> Cost:
    known = not math.isnan(reference)
    differences = [
        cell.difference.mean for cell in comparison.cells if cell.arm == arm and cell.difference
    ]
    return Cost(
        arm=arm,
        seconds=seconds,
        ratio=seconds / reference if known and reference > 0 else None,
        extra_seconds=seconds - reference if known else None,
        gain=mean(differences) if differences else None,
    )
