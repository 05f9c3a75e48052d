"""Cost and power of a plan, from earlier runs."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynaloss.analysis.statistics.costs import trial_seconds
from dynaloss.analysis.statistics.intervals import mean
from dynaloss.analysis.statistics.power import (
    seed_warnings,
    seeds_that_find,
    smallest_difference,
)
from dynaloss.studies.plan import Plan, Trial
from dynaloss.studies.trial_record import (
    BESIDE_EPOCHS,
    SECONDS_AROUND,
    Outcome,
    TrialRecord,
)

# Of one value of one metric at one epoch, with its share of the indices: the 22,590 values of a
# quickstart take 6.7 MiB of its SQLite file.
_VALUE_MIB = 310 / 2**20


_Timed = tuple[TrialRecord, float]
"""A completed trial, and the seconds that it took for an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCost:
    """Cost of one trial; NaN where unknown.

    Attributes:
        seconds: Wall time of all its epochs.
        peak_mib: Peak memory, see the metric `memory/peak_mib`.
        checkpoint_mib: Size of its checkpoint.
        stored_mib: Size of its artifacts and curves in the tracking store.
    """

    seconds: float
    peak_mib: float = math.nan
    checkpoint_mib: float = math.nan
    stored_mib: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a launch takes besides the epochs of its trials.

    The defaults are those of a first launch on two cores, where Ray starts in some ten seconds.

    Attributes:
        around: Seconds before the first epoch, and after the last one.
        beside_epochs: Time in between, in all slots, by that of the epochs in it.
    """

    around: float = 15.0
    beside_epochs: float = 1.05

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Pace:
        """That of the last launch, by the tags of its study."""
        try:
            return cls(
                around=float(tags[SECONDS_AROUND]), beside_epochs=float(tags[BESIDE_EPOCHS])
            )
        except KeyError:
            return cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Expectations of a plan before it runs.

    Attributes:
        counts: Per condition and arm, the number of trials and of those that have ended.
        done: Number of trials that have ended.
        remaining: Number of the others.
        costs: Cost of each of these, in order of the plan; None where no run shows it.
        guessed: Number of trials left whose cost is that of other arms, without runs of their own.
        pace: What a launch takes besides.
        spread: Standard deviation of the paired differences; None where unknown.
        spread_source: Source of the spread, to print.
        comparisons: Number of differences in the table.
        detectable: Smallest mean difference found with 80 % power; None where unknown, or where
            the seeds are too few for a test.
        seeds_needed: Seeds that find the given effect with 80 % power; None where unknown, where
            none is given, or where more than 100 are needed.
        warnings: Limits of the number of seeds.
    """

    counts: Mapping[tuple[str, str], tuple[int, int]]
    done: int
    remaining: int
    costs: tuple[TrialCost, ...] | None
    guessed: int
    pace: Pace
    spread: float | None
    spread_source: str
    comparisons: int
    detectable: float | None
    seeds_needed: int | None
    warnings: tuple[str, ...]

    @property
    def seconds(self) -> float | None:
        """Time of the trials left, one after the other; None where unknown."""
        return None if self.costs is None else math.fsum(cost.seconds for cost in self.costs)

    def wall_seconds(self, slots: int) -> float | None:
        """Time of a launch of the trials left, begun in order, `slots` at a time.

        0 where none is left; None where unknown.
        """
        if not self.costs:
            return None if self.costs is None else 0.0
        ends = [0.0] * slots
        for cost in self.costs:
            heapq.heapreplace(ends, ends[0] + cost.seconds)
        return self.pace.around + self.pace.beside_epochs * max(ends)


def forecast(
    plan: Plan,
    records: Sequence[TrialRecord],
    *,
    spread: float | None = None,
    effect: float | None = None,
    probed: Mapping[str, TrialCost] | None = None,
    pace: Pace | None = None,
) -> Forecast:
    """Counts, cost and power of a plan.

    Args:
        plan: The plan.
        records: Earlier trials of the study.
        spread: Standard deviation of an arm over the seeds, in the unit of the metric. Without
            one, that of the paired differences of earlier trials is used.
        effect: Difference, in the unit of the metric, that the seeds should find.
        probed: Cost of each trial by key, as measured; by default that of earlier trials counts.
        pace: What a launch takes besides; by default what it often takes.
    """
    left = trials_left(plan, records)
    if probed is None:
        costs, guessed = _recorded_costs(left, records)
    else:
        costs, guessed = tuple(probed[trial.key] for trial in left), 0
    planned, open_ = (
        Counter((t.condition, t.arm) for t in trials) for trials in (plan.trials, left)
    )
    seeds = len({trial.seed for trial in plan.trials})
    arms = {arm for _, arm in planned} - {plan.baseline}
    comparisons = sum(arm in arms for _, arm in planned)
    if len({condition for condition, _ in planned}) > 1:
        comparisons += len(arms)  # over all conditions
    deviation, source = _spread(plan, records, spread)
    return Forecast(
        counts={cell: (n, n - open_[cell]) for cell, n in planned.items()},
        done=len(plan.trials) - len(left),
        remaining=len(left),
        costs=costs,
        guessed=guessed,
        pace=pace or Pace(),
        spread=deviation,
        spread_source=source,
        comparisons=comparisons,
        detectable=smallest_difference(deviation, seeds, comparisons, plan.adjust)
        if deviation
        else None,
        seeds_needed=seeds_that_find(effect / deviation, comparisons, plan.adjust)
        if effect and deviation
        else None,
        warnings=seed_warnings(seeds, comparisons, plan.adjust),
    )


def trials_left(plan: Plan, records: Sequence[TrialRecord]) -> list[Trial]:
    """The trials of a plan that have not ended, in order."""
    ended = {record.key for record in records if record.outcome.is_final}
    return [trial for trial in plan.trials if trial.key not in ended]


def _recorded_costs(
    left: Sequence[Trial], records: Sequence[TrialRecord]
) -> tuple[tuple[TrialCost, ...] | None, int]:
    """Cost of the trials left: of their cell, else their arm, else all arms, by the epoch."""
    known = [(record, seconds) for record in records if (seconds := _epoch_seconds(record))]
    if not known:
        return (None if left else ()), 0
    alike: dict[object, list[_Timed]] = {}
    for record, seconds in known:
        for name in (record.arm, (record.condition, record.arm)):
            alike.setdefault(name, []).append((record, seconds))
    own = [alike.get((trial.condition, trial.arm)) or alike.get(trial.arm) for trial in left]
    begun = {record.key: int(record.metrics.get("epoch", 0)) for record in records}
    costs = (
        _cost_like(trial, like or known, done=begun.get(trial.key, 0))
        for trial, like in zip(left, own, strict=True)
    )
    return tuple(costs), own.count(None)


def _cost_like(trial: Trial, like: Sequence[_Timed], done: int) -> TrialCost:
    """Mean time, and largest sizes, of trials like this one, of which `done` epochs are stored."""
    reported = [record.metrics for record, _ in like]

    def most(metric: str) -> float:
        return max((m[metric] for m in reported if metric in m), default=math.nan)

    return TrialCost(
        seconds=mean([seconds for _, seconds in like]) * (trial.config.schedule.epochs - done),
        peak_mib=most("memory/peak_mib"),
        checkpoint_mib=most("disk/checkpoint_mib"),
        stored_mib=most("disk/artifacts_mib")
        + curves_mib(trial.config.schedule.epochs, max(map(len, reported))),
    )


def curves_mib(epochs: int, metrics: int) -> float:
    """Approximate size of the curves of a trial in an SQLite store."""
    return epochs * metrics * _VALUE_MIB


def _epoch_seconds(record: TrialRecord) -> float | None:
    """Mean over the epochs of a completed trial; None where its time is not recorded."""
    seconds, epochs = trial_seconds(record), record.metrics.get("epoch")
    if seconds is None or record.outcome is not Outcome.COMPLETED:
        return None
    return seconds / float(record.parameters.get("schedule.epochs", epochs or 1))


def _spread(
    plan: Plan, records: Sequence[TrialRecord], given: float | None
) -> tuple[float | None, str]:
    if given is not None:
        # Differences of independent arms; seeds that pair well do better.
        return given * math.sqrt(2), "--spread, per arm, arms assumed independent"
    found = paired_spread(plan, records)
    if found is None:
        return None, "unknown: give --spread, the standard deviation over seeds"
    spread, degrees = found
    return spread, f"paired differences of earlier trials, {degrees} degrees of freedom"


def paired_spread(plan: Plan, records: Sequence[TrialRecord]) -> tuple[float, int] | None:
    """Standard deviation of the differences to the baseline, and its degrees of freedom.

    Pooled over the cells; None without a cell of two paired seeds.
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
