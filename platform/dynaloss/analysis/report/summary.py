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
    column, metric = comparison.column(condition), comparison.metric
    leaders = [cell for cell in column if cell.best]
    if not leaders:
        return f"At {condition}, no trial has completed with this metric."
    best, *equal = leaders
    value = metric_names.format_mean(metric, best.mean, best.std)
    percent = " %" if metric_names.is_percent(metric) else ""
    parts = [
        f"At {condition}, {best.arm} has the best mean, {value}{percent}",
        f"shared with {' and '.join(cell.arm for cell in equal)}" if equal else "",
        _against_baseline(comparison, column, best),
        f"n = {counted(best.n, 'seed')}" + (f" of {best.planned}" if best.incomplete else ""),
    ]
    return ", ".join(part for part in parts if part) + "."


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
