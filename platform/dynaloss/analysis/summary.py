"""The comparison in plain words, none stronger than the numbers bear out."""

from __future__ import annotations

from collections.abc import Sequence

from dynaloss.analysis import metrics
from dynaloss.analysis.cells import Cell, Comparison
from dynaloss.analysis.statistics import PairedDifference
from dynaloss.analysis.wording import counted, p_text

__all__ = ["summarise"]


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
    text = metrics.format_mean(comparison.metric, cell.mean, cell.std)
    return f"{text} %" if metrics.is_percent(comparison.metric) else text


def _against_baseline(comparison: Comparison, column: Sequence[Cell], best: Cell) -> str:
    if comparison.baseline is None:
        return ""
    if best.arm == comparison.baseline:
        others = [cell.difference for cell in column if cell is not best and cell.difference]
        clear = sum(difference.clear for difference in others)
        told = f"{clear} of the {counted(len(others), 'other')}" if clear else "no other arm"
        return "the baseline itself" + (f", from which {told} can be told" if others else "")
    if best.difference is None:
        return f"not comparable with {comparison.baseline} for want of a shared seed"
    return _difference(comparison, comparison.baseline, best.difference)


def _difference(comparison: Comparison, baseline: str, difference: PairedDifference) -> str:
    metric = comparison.metric
    unit = metrics.display_unit(metric)
    text = f"{metrics.format_signed(metric, difference.mean)}{unit} against {baseline}"
    if difference.ci95 is None:
        return f"{text}, which one shared seed cannot tell from chance"
    text = f"{text} {metrics.format_interval(metric, difference.ci95)}"
    if not difference.clear:
        return f"{text}, which cannot be told from zero"
    return f"{text}, {p_text(difference.p_holm)} corrected"
