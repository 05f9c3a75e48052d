"""What a plan will take and what it can show, from the runs that there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynaloss.analysis.costs import trial_seconds
from dynaloss.analysis.power import seed_warnings, smallest_difference
from dynaloss.analysis.statistics import mean
from dynaloss.design.plan import Plan, Trial
from dynaloss.design.record import Outcome, TrialRecord

__all__ = ["Forecast", "forecast", "paired_spread"]

_DONE = frozenset({Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is known before a plan runs.

    Attributes:
        counts: Per condition and arm, the number of trials and of those that have ended.
        done: Number of trials that have ended.
        remaining: Number of trials that are left.
        seconds: Time of the trials left, one after the other; None where no run tells.
        guessed: Number of trials left whose time is that of other arms, for want of their own.
        spread: Standard deviation of the paired differences; None where unknown.
        spread_source: Where the spread comes from, in words.
        detectable: Smallest mean difference found with 80 % power; None where unknown.
        warnings: What the number of seeds cannot show.
    """

    counts: Mapping[tuple[str, str], tuple[int, int]]
    done: int
    remaining: int
    seconds: float | None
    guessed: int
    spread: float | None
    spread_source: str
    detectable: float | None
    warnings: tuple[str, ...]


def forecast(
    plan: Plan, records: Sequence[TrialRecord], *, spread: float | None = None
) -> Forecast:
    """Counts, cost and power of a plan.

    Args:
        plan: The plan.
        records: Earlier trials of the study; none before its first launch.
        spread: Standard deviation of an arm over the seeds, in the unit of the metric. Without
            one, that of the paired differences of earlier trials is taken.
    """
    ended = {record.key for record in records if record.outcome in _DONE}
    left = [trial for trial in plan.trials if trial.key not in ended]
    seconds, guessed = _seconds(left, records)
    seeds = len({trial.seed for trial in plan.trials})
    cells = {(trial.condition, trial.arm) for trial in plan.trials}
    comparisons = sum(arm != plan.baseline for _, arm in cells)
    deviation, source = _spread(plan, records, spread)
    return Forecast(
        counts=_counts(plan, ended),
        done=len(plan.trials) - len(left),
        remaining=len(left),
        seconds=seconds,
        guessed=guessed,
        spread=deviation,
        spread_source=source,
        detectable=None if deviation is None else smallest_difference(deviation, seeds),
        warnings=seed_warnings(seeds, comparisons),
    )


def _counts(plan: Plan, ended: set[str]) -> dict[tuple[str, str], tuple[int, int]]:
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for trial in plan.trials:
        cell = (trial.condition, trial.arm)
        total, done = counts.get(cell, (0, 0))
        counts[cell] = (total + 1, done + (trial.key in ended))
    return counts


def _seconds(left: Sequence[Trial], records: Sequence[TrialRecord]) -> tuple[float | None, int]:
    """Time of the trials left: of their cell, else their arm, else all arms, by the epoch."""
    known = [(record, per_epoch) for record in records if (per_epoch := _epoch_seconds(record))]
    if not known or not left:
        return (None if left else 0.0), 0
    by_arm: dict[str, list[float]] = {}
    by_cell: dict[tuple[str, str], list[float]] = {}
    for record, per_epoch in known:
        by_arm.setdefault(record.arm, []).append(per_epoch)
        by_cell.setdefault((record.condition, record.arm), []).append(per_epoch)
    everything = [per_epoch for _, per_epoch in known]
    total, guessed = 0.0, 0
    for trial in left:
        own = by_cell.get((trial.condition, trial.arm)) or by_arm.get(trial.arm)
        guessed += own is None
        total += mean(own or everything) * trial.config.schedule.epochs
    return total, guessed


def _epoch_seconds(record: TrialRecord) -> float | None:
    seconds, epochs = trial_seconds(record), record.metrics.get("epoch")
    if seconds is None or record.outcome is not Outcome.COMPLETED:
        return None
    length = float(record.parameters.get("schedule.epochs", epochs or 1))
    return seconds / length


def _spread(
    plan: Plan, records: Sequence[TrialRecord], given: float | None
) -> tuple[float | None, str]:
    if given is not None:
        # Differences of independent arms; seeds that pair well do better.
        return given * math.sqrt(2), f"--spread {given:g} per arm, arms taken as independent"
    found = paired_spread(plan, records)
    if found is None:
        return None, "unknown: give --spread, the standard deviation over seeds"
    spread, degrees = found
    return spread, f"paired differences of earlier trials, {degrees} degrees of freedom"


def paired_spread(plan: Plan, records: Sequence[TrialRecord]) -> tuple[float, int] | None:
    """Standard deviation of the differences to the baseline, pooled over the cells.

    Returns:
        The deviation and its degrees of freedom; None without a cell of two paired seeds.
    """
    values: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        value = record.metrics.get(plan.metric, math.nan)
        if record.outcome is Outcome.COMPLETED and math.isfinite(value):
            values.setdefault((record.condition, record.arm), {})[record.seed] = value
    squares, degrees = 0.0, 0
    for (condition, arm), seeds in values.items():
        reference = values.get((condition, plan.baseline), {})
        shared = [seeds[s] - reference[s] for s in seeds.keys() & reference]
        if arm != plan.baseline and len(shared) > 1:
            centre = mean(shared)
            squares += math.fsum((value - centre) ** 2 for value in shared)
            degrees += len(shared) - 1
    return (math.sqrt(squares / degrees), degrees) if degrees else None
