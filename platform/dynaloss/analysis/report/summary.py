"""The comparison in sentences, none stronger than its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from dynaloss.analysis import metric_names
from dynaloss.analysis.statistics.comparison import Cell, Comparison
from dynaloss.analysis.statistics.intervals import PairedDifference
from dynaloss.analysis.wording import counted, p_text


def summarise(comparison: Comparison) -> tuple[str, ...]:
    """One sentence per condition: the best mean, and whether it differs from the baseline."""
    return tuple(_sentence(comparison, condition) for condition in comparison.conditions)


def _sentence(comparison: Comparison, condition: str) -> str:
    best = comparison.best(condition)
    if best is None:
        return f"At {condition}, no trial has completed with this metric."
    parts = [
        f"At {condition}, {best.arm} has the best mean, {_value(comparison, best)}",
        _shared_with(comparison.column(condition), best),
        _against_baseline(comparison, comparison.column(condition), best),
        _seeds(best),
    ]
    return ", ".join(part for part in parts if part) + "."


def _shared_with(column: Sequence[Cell], best: Cell) -> str:
    others = [cell.arm for cell in column if cell.best and cell is not best]
    return f"shared with {' and '.join(others)}" if others else ""


def _seeds(cell: Cell) -> str:
    text = f"n = {counted(cell.n, 'seed')}"
    return f"{text} of {cell.coverage.planned}" if cell.incomplete else text


def _value(comparison: Comparison, cell: Cell) -> str:
    text = metric_names.format_mean(comparison.metric, cell.mean, cell.std)
    return f"{text} %" if metric_names.is_percent(comparison.metric) else text


def _against_baseline(comparison: Comparison, column: Sequence[Cell], best: Cell) -> str:
    if comparison.baseline is None:
        return ""
    if best.arm == comparison.baseline:
        others = [cell.difference for cell in column if cell is not best and cell.difference]
        if not others:
            return "the baseline itself"
        clear = sum(difference.clear for difference in others)
        share = f"{clear} of the {counted(len(others), 'other')}" if clear else "no other arm"
        return f"the baseline itself, with a clear difference to {share}"
    if best.difference is None:
        return f"not comparable with {comparison.baseline}, no seed is shared"
    return _difference(comparison, comparison.baseline, best.difference)


def _difference(comparison: Comparison, baseline: str, difference: PairedDifference) -> str:
    metric = comparison.metric
    unit = metric_names.display_unit(metric)
    text = f"{metric_names.format_signed(metric, difference.mean)}{unit} against {baseline}"
    if difference.ci95 is None:
        return f"{text}, inconclusive with one shared seed"
    text = f"{text} {metric_names.format_interval(metric, difference.ci95)}"
    if not difference.clear:
        return f"{text}, inconclusive"
    return f"{text}, {p_text(difference.p_holm)} corrected"
