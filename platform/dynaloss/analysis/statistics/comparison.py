"""The comparison: arms as rows, conditions as columns, a summary over seeds in every cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dynaloss.analysis.statistics.intervals import (
    Interval,
    PairedDifference,
    Verdict,
    mean,
    paired_difference,
    std,
    t_interval,
    tost_p,
)
from dynaloss.analysis.statistics.significance import (
    LEVEL,
    Adjustment,
    adjusted_p,
    can_be_tested,
    holm,
)
from dynaloss.errors import InputError
from dynaloss.studies.metric_names import higher_is_better
from dynaloss.studies.reading.problems import did_you_mean, listed
from dynaloss.studies.trial_record import Outcome, TrialRecord

_SeedRecords = Mapping[int, TrialRecord]
POOLED = "all conditions"
_BIAS = frozenset({"data.noise.kind", "data.noise.rate", "data.imbalance_factor"})
_COMPLETED = frozenset({Outcome.COMPLETED})
_WITH_PRUNED = frozenset({Outcome.COMPLETED, Outcome.PRUNED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One arm under one condition, over its seeds.

    Only completed trials enter the numbers, and pruned ones where the comparison says so.

    Attributes:
        condition: Label of the data bias.
        arm: Name of the setting of the components.
        seeds: Value of the metric per seed, finite ones only.
        mean: Mean over the seeds; NaN without any.
        std: Sample standard deviation; NaN with fewer than two seeds.
        ci95: Interval of the mean, see `t_interval`; None with fewer than two seeds.
        difference: Paired difference to the baseline; None for the baseline itself, without a
            baseline, or without a shared seed.
        planned: Seeds expected: those planned, or those of the fullest cell of the table.
        outcomes: Number of seeds of each outcome that occurs, in order of `Outcome`.
        incomplete: Whether the mean rests on fewer seeds than planned, or a trial has not
            completed. An arm that never has the metric (as `corrector/auc` without a
            corrector) is not incomplete, only empty.
        best: Whether this is the best mean of its condition.
        second: Whether this is the second best mean of its condition.
        best_seed: Best value of a seed, which shows the part of luck; NaN without any.
    """

    condition: str
    arm: str
    seeds: Mapping[int, float]
    mean: float
    std: float
    ci95: Interval | None
    difference: PairedDifference | None
    planned: int
    outcomes: Mapping[Outcome, int]
    incomplete: bool
    best: bool
    second: bool = False
    best_seed: float = math.nan

    @property
    def n(self) -> int:
        """Number of seeds that the mean rests on."""
        return len(self.seeds)

    @property
    def not_completed(self) -> dict[Outcome, int]:
        """The outcomes without the completed ones."""
        return {o: n for o, n in self.outcomes.items() if o is not Outcome.COMPLETED}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A table of cells for one metric.

    Attributes:
        study: Name of the study; several are joined by ` + `.
        metric: Name of the metric, such as `test/accuracy`.
        baseline: Arm that differences refer to, if any.
        arms: Rows, in order.
        conditions: Columns, in order.
        cells: One per condition and arm, condition by condition.
        pooled: One per arm: each seed's mean over the conditions, where there are several and all
            have the seed; their differences are adjusted with those of `cells`.
        margin: Differences up to this, in the unit of the metric, do not matter; None for none.
        adjust: How p values are adjusted over the table.
        settings: Of each condition, the settings that tell it from the others, and its noise and
            imbalance, as recorded: those that all of its trials share, by dotted key.
        warnings: Caveats on all of the numbers, one sentence each.
        exact: Whether texts show every digit.
    """

    study: str
    metric: str
    baseline: str | None
    arms: tuple[str, ...]
    conditions: tuple[str, ...]
    cells: tuple[Cell, ...]
    pooled: tuple[Cell, ...] = ()
    margin: float | None = None
    adjust: Adjustment = "maxt"
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    exact: bool = False

    @cached_property
    def _index(self) -> dict[tuple[str, str], Cell]:
        return {(cell.condition, cell.arm): cell for cell in self.cells}

    def cell(self, condition: str, arm: str) -> Cell:
        """The cell of an arm under a condition."""
        return self._index[condition, arm]

    def column(self, condition: str) -> tuple[Cell, ...]:
        """All cells of a condition, in order of the arms."""
        return tuple(self._index[condition, arm] for arm in self.arms)


def compare(
    records: Sequence[TrialRecord],
    metric: str,
    baseline: str | None = None,
    *,
    arm_order: Sequence[str] = (),
    condition_order: Sequence[str] = (),
    planned: Mapping[tuple[str, str], int] | None = None,
    include_pruned: bool = False,
    margin: float | None = None,
    adjust: Adjustment = "maxt",
) -> Comparison:
    """The arms of a study compared by one metric, rows and columns in order of appearance.

    P values of the differences are adjusted over the whole table.

    Args:
        records: The trials, in a stable order.
        metric: Name of a metric that a completed trial has reported.
        baseline: Arm that differences refer to; None for no differences.
        arm_order: Arms to list first, in this order; one without records gets an empty row.
        condition_order: Conditions to list first, likewise.
        planned: Number of seeds planned per condition and arm, none where it is not listed; by
            default that of the fullest cell for each.
        include_pruned: Whether the last value of a pruned trial enters the numbers.
        margin: Differences up to this, in the unit of the metric, do not matter; None for none.
        adjust: `maxt` or `holm`, see `adjusted_p`.

    Raises:
        InputError: If no trial has completed, the metric or the baseline is unknown, or a cell
            holds two different completed trials of one seed.
    """
    arms = tuple(dict.fromkeys([*arm_order, *(r.arm for r in records)]))
    conditions = tuple(dict.fromkeys([*condition_order, *(r.condition for r in records)]))
    counted = _WITH_PRUNED if include_pruned else _COMPLETED
    if not (ended := [record for record in records if record.outcome in counted]):
        raise InputError(_nothing_completed(records))
    _check_names(ended, metric, baseline, arms)
    table = _group(records)
    columns = {c: {arm: table.get((c, arm), {}) for arm in arms} for c in conditions}
    fullest = max(len(trials) for trials in table.values())
    expected = {
        c: {
            arm: max(planned.get((c, arm), 0), len(trials)) if planned is not None else fullest
            for arm, trials in column.items()
        }
        for c, column in columns.items()
    }
    cells = [
        cell
        for condition, trials in columns.items()
        for cell in _column(condition, trials, metric, baseline, expected[condition], counted)
    ]
    pooled = _pooled(cells, arms, conditions, metric, baseline) if len(conditions) > 1 else []
    judged = _judged([*cells, *pooled], metric, margin, adjust)
    pruned = "Pruned trials are included, with the last value that each reported."
    return Comparison(
        study=" + ".join(dict.fromkeys(record.study for record in records)),
        metric=metric,
        baseline=baseline,
        arms=arms,
        conditions=conditions,
        cells=judged[: len(cells)],
        pooled=judged[len(cells) :],
        margin=margin,
        adjust=adjust,
        settings=_settings(records),
        warnings=(pruned,) if include_pruned else (),
    )


def _settings(records: Sequence[TrialRecord]) -> dict[str, dict[str, str]]:
    """See `Comparison.settings`."""
    shared: dict[str, dict[str, str]] = {}
    for record in records:
        own = shared.setdefault(record.condition, dict(record.parameters))
        shared[record.condition] = dict(own.items() & record.parameters.items())
    every = set.intersection(*(set(own) for own in shared.values())) - {"seed", "base_seed"}
    telling = {key for key in every if len({own[key] for own in shared.values()}) > 1}
    return {
        condition: {key: own[key] for key in sorted(own) if key in telling or key in _BIAS}
        for condition, own in shared.items()
    }


def _pooled(
    cells: Sequence[Cell],
    arms: Sequence[str],
    conditions: Sequence[str],
    metric: str,
    baseline: str | None,
) -> list[Cell]:
    """A cell per arm: the mean over the conditions of each seed that all of them have."""
    values: dict[str, dict[int, float]] = {}
    of_arms: dict[str, list[Cell]] = {arm: [c for c in cells if c.arm == arm] for arm in arms}
    for arm, found in of_arms.items():
        shared = set.intersection(*(set(cell.seeds) for cell in found))
        values[arm] = {seed: mean([cell.seeds[seed] for cell in found]) for seed in sorted(shared)}
    planned = {arm: max(cell.planned for cell in found) for arm, found in of_arms.items()}
    complete = {arm: not any(cell.incomplete for cell in found) for arm, found in of_arms.items()}
    return [
        replace(cell, incomplete=not complete[cell.arm])
        for cell in _cells(POOLED, values, metric, baseline, planned, {})
    ]


def _judged(
    cells: Sequence[Cell], metric: str, margin: float | None, adjust: Adjustment
) -> tuple[Cell, ...]:
    """The cells with what holds of all their differences at once, and a verdict on each."""
    found = {i: cell.difference for i, cell in enumerate(cells) if cell.difference}
    differences = [*found.values()]
    by_seed = [difference.by_seed for difference in differences]
    p_values = adjusted_p(by_seed, adjust)
    p_equivalent = _equivalence(by_seed, margin)
    # Sidak's inequality holds for t intervals of any dependence (J. Am. Stat. Assoc. 62, 1967).
    level = (1 - LEVEL) ** (1 / max(1, len(differences)))
    judged = list(cells)
    for (i, difference), p, equal in zip(found.items(), p_values, p_equivalent, strict=True):
        whole = replace(
            difference,
            p_adjusted=p,
            p_equivalent=equal,
            simultaneous=t_interval([*difference.by_seed.values()], level),
        )
        judged[i] = replace(cells[i], difference=replace(whole, verdict=_verdict(whole, metric)))
    return tuple(judged)


def _equivalence(differences: Sequence[Mapping[int, float]], margin: float | None) -> list[float]:
    """P values of equivalence, adjusted by Holm's method; NaN without a margin or enough seeds.

    The t test could say so of two seeds, but no table should that cannot find a difference.
    """
    return holm(
        [
            tost_p([*found.values()], margin)
            if margin is not None and can_be_tested(len(found))
            else math.nan
            for found in differences
        ]
    )


def _verdict(difference: PairedDifference, metric: str) -> Verdict:
    if difference.p_equivalent <= LEVEL:
        return Verdict.EQUIVALENT
    if not difference.p_adjusted <= LEVEL:
        return Verdict.INCONCLUSIVE
    is_better = (difference.mean > 0) is higher_is_better(metric)
    return Verdict.BETTER if is_better else Verdict.WORSE


def _check_names(
    ended: Sequence[TrialRecord], metric: str, baseline: str | None, arms: Sequence[str]
) -> None:
    metrics = sorted({name for record in ended for name in record.metrics})
    problems = [
        f"Unknown {kind} `{name}`; {did_you_mean(name, known) or f'known: {listed(known)}.'}"
        for kind, name, known in (("metric", metric, metrics), ("baseline", baseline, arms))
        if name is not None and name not in known
    ]
    if problems:
        raise InputError(problems)


def _nothing_completed(records: Sequence[TrialRecord]) -> str:
    if not records:
        return "There are no trials to compare; run the study first."
    counts = Counter(record.outcome for record in records)
    seen = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    return f"Study `{records[0].study}` has no completed trial to compare: {seen}."


def _group(records: Sequence[TrialRecord]) -> dict[tuple[str, str], dict[int, TrialRecord]]:
    table: dict[tuple[str, str], dict[int, TrialRecord]] = {}
    for record in records:
        trials = table.setdefault((record.condition, record.arm), {})
        known = trials.get(record.seed)
        trials[record.seed] = _one_of(known, record) if known else record
    return table


def _one_of(known: TrialRecord, record: TrialRecord) -> TrialRecord:
    """The completed one of two trials of a seed, else the later one."""
    if known.outcome is not Outcome.COMPLETED:
        return record
    if record.outcome is not Outcome.COMPLETED:
        return known
    if known.key == record.key:
        return record
    raise InputError(
        f"Condition `{record.condition}`, arm `{record.arm}` has two different completed trials "
        f"of seed {record.seed}: {_differing(known, record)}; name that setting in --rows, --cols "
        "or --where, or give only one of them."
    )


def _differing(one: TrialRecord, other: TrialRecord) -> str:
    if one.key_version != other.key_version:
        return "their keys are of two versions, which cannot be matched"
    left, right = one.parameters, other.parameters
    texts = [
        f"`{name}` is {left.get(name)} in one, {right.get(name)} in the other"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]
    return ", ".join(texts[:3]) or f"keys {one.key} and {other.key}"


def _column(
    condition: str,
    trials: Mapping[str, _SeedRecords],
    metric: str,
    baseline: str | None,
    planned: Mapping[str, int],
    counted: Collection[Outcome],
) -> Iterator[Cell]:
    values = {arm: _values(by_seed, metric, counted) for arm, by_seed in trials.items()}
    outcomes = {
        arm: Counter(r.outcome for r in by_seed.values()) for arm, by_seed in trials.items()
    }
    yield from _cells(condition, values, metric, baseline, planned, outcomes)


def _cells(
    condition: str,
    values: Mapping[str, Mapping[int, float]],
    metric: str,
    baseline: str | None,
    planned: Mapping[str, int],
    outcomes: Mapping[str, Counter[Outcome]],
) -> Iterator[Cell]:
    means = {mean([*seeds.values()]) for seeds in values.values() if seeds}
    leaders = sorted(means, reverse=higher_is_better(metric))[:2]
    reference = values[baseline] if baseline is not None else {}
    for arm, seeds in values.items():
        found, average = [*seeds.values()], mean([*seeds.values()])
        ends = outcomes.get(arm, Counter())
        yield Cell(
            condition=condition,
            arm=arm,
            seeds=seeds,
            mean=average,
            std=std(found),
            ci95=t_interval(found),
            difference=None if arm == baseline else paired_difference(seeds, reference),
            planned=planned[arm],
            outcomes={outcome: ends[outcome] for outcome in Outcome if outcome in ends},
            incomplete=ends[Outcome.COMPLETED] < planned[arm] or 0 < len(seeds) < planned[arm],
            best=average in leaders[:1],
            second=average in leaders[1:],
            best_seed=(max if higher_is_better(metric) else min)(found, default=math.nan),
        )


def collapsed_seeds(values: Mapping[int, float], metric: str) -> list[int]:
    """Seeds whose value is far worse than those of their cell, at least four of them.

    Worse than the median by a tenth of it and by six robust standard deviations (1.4826 times the
    median absolute deviation; Hampel, J. Am. Stat. Assoc. 69, 1974).
    """
    if len(values) < 4:
        return []
    found = np.array([*values.values()])
    middle = float(np.median(found))
    robust = 1.4826 * float(np.median(np.abs(found - middle)))
    limit = max(6 * robust, abs(middle) / 10)
    sign = 1 if higher_is_better(metric) else -1
    return [seed for seed, value in values.items() if sign * (middle - value) > limit]


def _values(trials: _SeedRecords, metric: str, counted: Collection[Outcome]) -> dict[int, float]:
    return {
        seed: float(record.metrics[metric])
        for seed, record in sorted(trials.items())
        if record.outcome in counted and math.isfinite(record.metrics.get(metric, math.nan))
    }
