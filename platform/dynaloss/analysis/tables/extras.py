"""Tables beside the comparison: effects, cost, selection rules, aggregates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from dynaloss.analysis.selection import epoch_rules, rankings
from dynaloss.analysis.statistics.aggregates import aggregate
from dynaloss.analysis.statistics.comparison import POOLED, Comparison
from dynaloss.analysis.statistics.costs import Cost, costs
from dynaloss.analysis.statistics.effects import KINDS, Effect, effects
from dynaloss.analysis.statistics.intervals import Verdict
from dynaloss.analysis.statistics.significance import LEVEL, METHODS
from dynaloss.analysis.tables.content import Entry, Table, text_table
from dynaloss.analysis.wording import EMPTY
from dynaloss.studies import metric_names
from dynaloss.studies.trial_record import TrialRecord

_Make = Callable[[Sequence[TrialRecord], Comparison, Sequence[str]], Iterator[Table]]
_TITLES = {
    "shapley": "Shapley values of the components",
    "main": "Main effects of the components",
    "interaction": "Interactions of two components",
    "step": "Steps of the path",
    "removed": "Components removed from full",
    "alone": "Components alone",
}


def extra_tables(
    names: Sequence[str],
    records: Sequence[TrialRecord],
    comparison: Comparison,
    components: Sequence[str] = (),
) -> list[Table]:
    """The tables of the extras named, in the order of `EXTRAS`.

    By default the components are read off the names of the arms.
    """
    return [
        table
        for name, make in EXTRAS.items()
        if name in names
        for table in make(records, comparison, components)
    ]


def _effects(
    _records: Sequence[TrialRecord], comparison: Comparison, components: Sequence[str]
) -> Iterator[Table]:
    """A table per kind of effect: components as rows, conditions as columns."""
    found, metric = effects(comparison, components), comparison.metric
    how: tuple[str, ...] = (
        "Effects: mean and 95 % interval over the seeds that have every arm needed; "
        f"{POOLED}: mean over the conditions, seed by seed. Inconclusive: p of the sign-flip "
        f"test, adjusted over the effects of the table by {METHODS[comparison.adjust]}, is above "
        f"{LEVEL}, or too few seeds for a test.",
    )
    for kind, meaning in KINDS.items():
        place = {(one.name, one.condition): one for one in found if one.kind == kind}
        if not place:
            continue
        names, seen = (list(dict.fromkeys(part)) for part in zip(*place, strict=True))
        conditions = [c for c in (*comparison.conditions, POOLED) if c in seen]
        rows = (
            (Entry(text=name), *(_effect_entry(metric, place.get((name, c))) for c in conditions))
            for name in names
        )
        yield Table(
            title=f"{_TITLES[kind]}: {metric_names.label(metric)}",
            header=("component", *conditions),
            rows=tuple(rows),
            notes=(meaning, *how),
        )
        how = ()  # below the first of them


def _effect_entry(metric: str, effect: Effect | None) -> Entry:
    if effect is None:
        return Entry(text=EMPTY)
    text = metric_names.format_signed(metric, effect.mean, effect.ci95)
    return (
        Entry(text=text)
        if effect.clear
        else Entry(text=f"{text} {Verdict.INCONCLUSIVE}", unclear=True)
    )


def _cost(
    records: Sequence[TrialRecord], comparison: Comparison, _components: Sequence[str]
) -> Iterator[Table]:
    """Time and memory of each arm next to its gain, where trials recorded their time."""
    found = costs(records, comparison)
    if not found:
        return
    note = (
        "Seconds: wall time of all epochs, mean over the completed trials. Gain: mean over the "
        "conditions of the paired difference to the baseline."
    )
    header = ("arm", "seconds per trial", "times baseline", "mean gain", "peak MiB")
    rows = [header, *(_cost_row(comparison.metric, cost) for cost in found)]
    if any(cost.peak_mib is not None for cost in found):
        note += " Peak: highest memory of a trial's process, or of its tensors on a GPU, likewise."
    else:
        rows = [row[:-1] for row in rows]
    yield text_table("Cost next to gain", rows[0], rows[1:], notes=[note])


def _cost_row(metric: str, cost: Cost) -> tuple[str, ...]:
    gain = EMPTY if cost.gain is None else metric_names.format_signed(metric, cost.gain)
    ratio = EMPTY if cost.ratio is None else f"{cost.ratio:.2f}"
    peak = EMPTY if cost.peak_mib is None else f"{cost.peak_mib:,.0f}"
    return cost.arm, f"{cost.seconds:,.1f}", ratio, gain, peak


def _rules(
    records: Sequence[TrialRecord], comparison: Comparison, _components: Sequence[str]
) -> Iterator[Table]:
    """Mean of each arm under every rule that chooses the epoch, where trials have curves."""
    metric, rules = comparison.metric, epoch_rules()
    found = rankings(records, metric, comparison.arms)
    if not found:
        return

    def text(value: float | None) -> str:
        return EMPTY if value is None else metric_names.format_value(metric, value)

    notes = [f"{rule}: {rules[rule].description}." for rule in found]
    if absent := [rule for rule in rules if rule not in found]:
        notes.append(f"Not every arm has the curves for: {', '.join(absent)}.")
    if len({tuple(means) for means in found.values()}) == 1:
        notes.append("The arms rank the same under all of these rules.")
    else:
        orders = "; ".join(f"{rule}: {' > '.join(means)}" for rule, means in found.items())
        notes.append(f"The rules rank the arms differently: {orders}.")
    yield text_table(
        f"Selection rules: {metric_names.label(metric)}, mean over all trials",
        ("arm", *found),
        [(arm, *(text(means.get(arm)) for means in found.values())) for arm in comparison.arms],
        notes=notes,
    )


def _aggregates(
    _records: Sequence[TrialRecord], comparison: Comparison, _components: Sequence[str]
) -> Iterator[Table]:
    """Every arm against the baseline over all conditions."""
    signed = partial(metric_names.format_signed, comparison.metric)
    rows = []
    for one in aggregate(comparison):
        ends = (f"{signed(value)} at {name}" for name, value in (one.lowest, one.highest))
        chance, (low, high) = one.improvement
        beats = f"{chance:.2f} [{low:.2f}, {high:.2f}]"
        rows.append((one.arm, signed(one.difference), *ends, beats))
    if rows:
        yield text_table(
            f"Over the conditions: {metric_names.label(comparison.metric)}",
            ("arm", "mean difference", "lowest", "highest", "P(beats baseline)"),
            rows,
            notes=[
                f"Paired differences to {comparison.baseline} by condition: mean, lowest, "
                "highest. P: a random seed of the arm beats one of the baseline at a "
                "random condition; brackets: 95 % percentile bootstrap over seeds within "
                "conditions, which is too narrow for few seeds."
            ],
        )


EXTRAS: dict[str, _Make] = {
    "effects": _effects,
    "cost": _cost,
    "rules": _rules,
    "aggregates": _aggregates,
}
"""Tables that a comparison can show beside its own, by name."""
