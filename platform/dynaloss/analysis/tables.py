"""Plain tables beside the comparison: a title, a heading, rows of text, and notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dynaloss.analysis import metrics
from dynaloss.analysis.aggregates import Aggregate, aggregate
from dynaloss.analysis.cells import Comparison
from dynaloss.analysis.costs import Cost, costs
from dynaloss.analysis.effects import KINDS, POOLED, Effect, effects
from dynaloss.analysis.selection import RULES, Ranking, rankings
from dynaloss.analysis.statistics import Interval
from dynaloss.analysis.wording import CANNOT_TELL, EMPTY
from dynaloss.studies.trial_record import TrialRecord

__all__ = [
    "EXTRAS",
    "Table",
    "aggregates_table",
    "cost_table",
    "effects_tables",
    "extra_tables",
    "rules_table",
]

_TITLES = {
    "shapley": "Shapley values of the components",
    "main": "Main effects of the components",
    "interaction": "Interactions of two components",
    "taken away": "Components taken away from full",
    "alone": "Components alone",
}
_GAIN = ("mean gain", "gain per minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts.

    Attributes:
        title: What it shows.
        header: One name per column; the first column names the row.
        rows: One text per column.
        notes: How to read it, one sentence each.
        unclear: Places (row, column) that cannot be told from zero, to be greyed.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    unclear: frozenset[tuple[int, int]] = frozenset()


def effects_tables(comparison: Comparison, components: Sequence[str] = ()) -> list[Table]:
    """A table per kind of effect: components as rows, conditions as columns."""
    found = effects(comparison, components)
    kinds = [kind for kind in KINDS if any(effect.kind == kind for effect in found)]
    how = (
        "Effects: mean and 95 % interval over the seeds that have every arm needed; "
        f"{POOLED}: mean over the conditions, seed by seed."
    )
    return [
        _effects_table(comparison, kind, found, () if place else (how,))
        for place, kind in enumerate(kinds)
    ]


def _effects_table(
    comparison: Comparison, kind: str, found: Sequence[Effect], how: tuple[str, ...]
) -> Table:
    place = {(e.name, e.condition): e for e in found if e.kind == kind}
    names = list(dict.fromkeys(name for name, _ in place))
    seen = {condition for _, condition in place}
    conditions = [c for c in (*comparison.conditions, POOLED) if c in seen]
    grid = [[place.get((name, condition)) for condition in conditions] for name in names]
    unclear = {
        (row, column + 1)
        for row, effects_of in enumerate(grid)
        for column, effect in enumerate(effects_of)
        if effect and not effect.clear
    }
    return Table(
        title=f"{_TITLES[kind]}: {metrics.label(comparison.metric)}",
        header=("component", *conditions),
        rows=tuple(
            (name, *(_effect_text(comparison.metric, effect) for effect in effects_of))
            for name, effects_of in zip(names, grid, strict=True)
        ),
        notes=(KINDS[kind], *how),
        unclear=frozenset(unclear),
    )


def _effect_text(metric: str, effect: Effect | None) -> str:
    if effect is None:
        return EMPTY
    text = metrics.format_signed(metric, effect.mean)
    interval = f" {metrics.format_interval(metric, effect.ci95)}" if effect.ci95 else ""
    return f"{text}{interval}" if effect.clear else f"{text}{interval} {CANNOT_TELL}"


def cost_table(records: Sequence[TrialRecord], comparison: Comparison) -> Table | None:
    """Time and memory of each arm next to its gain; None where no trial recorded its time."""
    found = costs(records, comparison)
    if not found:
        return None
    with_memory = any(cost.peak_mib is not None for cost in found)
    memory = ("peak MiB",) if with_memory else ()
    note = (
        "Seconds: wall time of all epochs, mean over the completed trials. Gain: mean over the "
        "conditions of the paired difference to the baseline."
    )
    peak = " Peak: highest memory of a trial's process, or of its tensors on a GPU, likewise."
    return Table(
        title="Cost next to gain",
        header=("arm", "seconds per trial", "times baseline", *memory, *_GAIN),
        rows=tuple(_cost_row(comparison.metric, cost, with_memory) for cost in found),
        notes=(note + peak if with_memory else note,),
    )


def _cost_row(metric: str, cost: Cost, with_memory: bool) -> tuple[str, ...]:
    extra = cost.extra_seconds
    gain = EMPTY if cost.gain is None else metrics.format_signed(metric, cost.gain)
    per_minute = (
        metrics.format_signed(metric, 60 * cost.gain / extra)
        if cost.gain is not None and extra is not None and extra > 0
        else EMPTY
    )
    ratio = EMPTY if cost.ratio is None else f"{cost.ratio:.2f}"
    peak = EMPTY if cost.peak_mib is None else f"{cost.peak_mib:,.0f}"
    memory = (peak,) if with_memory else ()
    return (cost.arm, f"{cost.seconds:,.1f}", ratio, *memory, gain, per_minute)


def rules_table(records: Sequence[TrialRecord], comparison: Comparison) -> Table | None:
    """Mean of each arm under every rule that picks the epoch; None without curves."""
    found = rankings(records, comparison.metric, comparison.arms)
    if not found:
        return None
    scores = {rule: dict(ranking.means) for rule, ranking in found.items()}
    orders = {ranking.order for ranking in found.values()}
    verdict = (
        "The arms rank the same under all of these rules."
        if len(orders) == 1
        else "The rules rank the arms differently: "
        + "; ".join(f"{rule}: {' > '.join(r.order)}" for rule, r in found.items())
        + "."
    )
    return Table(
        title=f"Selection rules: {metrics.label(comparison.metric)}, mean over all trials",
        header=("arm", *found),
        rows=tuple(
            (arm, *(_score(comparison.metric, scores[rule].get(arm)) for rule in found))
            for arm in comparison.arms
        ),
        notes=(*(f"{rule}: {RULES[rule]}" for rule in found), *_absent(found), verdict),
    )


def _absent(found: Mapping[str, Ranking]) -> list[str]:
    names = [rule for rule in RULES if rule not in found]
    return [f"Not every arm has the curves for: {', '.join(names)}."] if names else []


def _score(metric: str, value: float | None) -> str:
    return EMPTY if value is None else metrics.format_value(metric, value)


def aggregates_table(comparison: Comparison) -> Table | None:
    """Every arm over all conditions."""
    found = aggregate(comparison)
    if not found:
        return None
    return Table(
        title=f"Aggregates over the conditions: {metrics.label(comparison.metric)}",
        header=("arm", "IQM", "optimality gap", "P(beats baseline)"),
        rows=tuple(_aggregate_row(comparison.metric, one) for one in found),
        notes=(
            "IQM: mean of the middle half of all values. Optimality gap: what is missing to a "
            "perfect score. P: a random seed of the arm beats one of the baseline at a random "
            "condition. Brackets: 95 % percentile bootstrap over seeds within conditions, which "
            "is too narrow for few seeds.",
        ),
    )


def _aggregate_row(metric: str, one: Aggregate) -> tuple[str, ...]:
    def text(found: tuple[float, Interval] | None) -> str:
        if found is None:
            return EMPTY
        value, interval = found
        return f"{metrics.format_value(metric, value)} {metrics.format_interval(metric, interval)}"

    return one.arm, text(one.iqm), text(one.optimality_gap), _probability(one.improvement)


def _probability(found: tuple[float, Interval] | None) -> str:
    if found is None:
        return EMPTY
    value, (low, high) = found
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _present(table: Table | None) -> list[Table]:
    return [] if table is None else [table]


EXTRAS: dict[str, Callable[[Sequence[TrialRecord], Comparison, Sequence[str]], list[Table]]] = {
    "effects": lambda _records, comparison, components: effects_tables(comparison, components),
    "cost": lambda records, comparison, _: _present(cost_table(records, comparison)),
    "rules": lambda records, comparison, _: _present(rules_table(records, comparison)),
    "aggregates": lambda _records, comparison, _: _present(aggregates_table(comparison)),
}
"""What a comparison can show beside its table, by name."""


def extra_tables(
    names: Sequence[str],
    records: Sequence[TrialRecord],
    comparison: Comparison,
    components: Sequence[str] = (),
) -> list[Table]:
    """The tables of the extras named, in the order of `EXTRAS`."""
    return [
        table
        for name, make in EXTRAS.items()
        if name in names
        for table in make(records, comparison, components)
    ]
