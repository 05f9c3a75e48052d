"""Words for cells and comparisons, the same in every format, and a summary in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dynaloss.analysis.statistics.comparison import POOLED, Cell, Comparison, collapsed_seeds
from dynaloss.analysis.statistics.intervals import PairedDifference, Verdict
from dynaloss.analysis.statistics.power import fewest_seeds
from dynaloss.analysis.statistics.significance import (
    LARGEST_EXACT,
    LEVEL,
    METHODS,
    can_be_tested,
    sign_flip_floor,
)
from dynaloss.studies import metric_names

Content = Literal["differences", "marks", "means"]
"""What cells show beside the mean: the paired difference, a mark of its verdict, or nothing."""

EMPTY = "–"
_MARK = "†"
_NUM_INCOMPLETE_SHOWN = 12
_MARKS = {
    Verdict.BETTER: "▲",
    Verdict.WORSE: "▼",
    Verdict.EQUIVALENT: "=",
    Verdict.INCONCLUSIVE: "",
}


def mean_text(comparison: Comparison, cell: Cell) -> str:
    """`87.3 ± 1.2`, marked where incomplete; a dash where there is nothing."""
    metric, exact = comparison.metric, comparison.exact
    text = metric_names.format_mean(metric, cell.mean, cell.std, exact=exact) if cell.n else EMPTY
    return text + (_MARK if cell.incomplete else "")


def marked_mean(comparison: Comparison, cell: Cell) -> str:
    """`87.3±1.2▲`: the mean in the least space, with the mark of its verdict."""
    mark = _MARKS[cell.difference.verdict] if cell.difference else ""
    return mean_text(comparison, cell).replace(" ", "") + mark


def unit_text(comparison: Comparison) -> str:
    """Name of the metric, with the unit in which the texts give it."""
    return comparison.metric if comparison.exact else metric_names.label(comparison.metric)


def difference_text(comparison: Comparison, cell: Cell) -> str:
    """`+6.2 [3.1, 9.0] better, p 0.03`, the paired difference to the baseline; empty without one.

    Without a p value where the verdict is another one.
    """
    if cell.difference is None:
        return ""
    found, metric, exact = cell.difference, comparison.metric, comparison.exact
    signed = metric_names.format_signed(metric, found.mean, found.ci95, exact=exact)
    return f"{signed} {_verdict_text(found)}"


def _verdict_text(difference: PairedDifference) -> str:
    """`better, p 0.031`; the verdict alone where it is no matter of p."""
    shown = f", {_p_text(difference.p_adjusted)}" if difference.clear else ""
    return f"{difference.verdict}{shown}"


def _p_text(p: float) -> str:
    """`p 0.031`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}"


def notes(comparison: Comparison, content: Content = "differences") -> tuple[str, ...]:
    """Meaning of the numbers of the table, and its incomplete cells, one sentence each."""
    counts = [cell.n for cell in comparison.cells if cell.n] or [0]
    n = " to ".join(dict.fromkeys(map(str, (min(counts), max(counts)))))
    lines = [
        *comparison.warnings,
        f"{unit_text(comparison)}: mean ± standard deviation over seeds, n = {n}.",
    ]
    if comparison.baseline is not None:
        lines += _difference_notes(comparison, comparison.baseline, content)
    lines += _collapsed(comparison)
    incomplete = [_incomplete_text(cell) for cell in comparison.cells if cell.incomplete]
    if incomplete:
        more = len(incomplete) - _NUM_INCOMPLETE_SHOWN
        shown = incomplete[:_NUM_INCOMPLETE_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        lines.append(f"{_MARK} Incomplete: {'; '.join(shown)}.")
    return tuple(lines)


def _difference_notes(comparison: Comparison, baseline: str, content: Content) -> list[str]:
    cells = (*comparison.cells, *comparison.pooled)
    differences = [cell.difference for cell in cells if cell.difference]
    lines = []
    testable = any(can_be_tested(difference.n) for difference in differences)
    rules = "; ".join(_rules(comparison, differences, content)) if testable else ""
    if content == "differences":
        start = f"Second line: difference to {baseline}, paired by seed, [95 % t interval of the "
        lines.append(f"{start}cell alone]{'; ' if rules else ''}{rules}.")
    elif content == "marks" and rules:
        lines.append(f"Against {baseline}, paired by seed: {rules}.")
    if comparison.pooled:
        lines.append(f"{POOLED}: mean over the conditions, seed by seed.")
    fewest = min((difference.n for difference in differences), default=0)
    if content != "means" and fewest > 1 and not can_be_tested(fewest):
        lines.append(
            f"n = {fewest}: too few seeds for a test, whose smallest p is "
            f"{sign_flip_floor(fewest):.3g}; {fewest_seeds(1)} seeds can reach p < {LEVEL:g}."
        )
    return lines


def _rules(
    comparison: Comparison, differences: Sequence[PairedDifference], content: Content
) -> list[str]:
    """What each verdict means."""
    better, worse, equivalent, inconclusive = (
        f"{_MARKS[verdict]} {verdict}" if content == "marks" else str(verdict)
        for verdict in (Verdict.BETTER, Verdict.WORSE, Verdict.EQUIVALENT, Verdict.INCONCLUSIVE)
    )
    tested = sum(can_be_tested(difference.n) for difference in differences)
    exact = "exact " if max((d.n for d in differences), default=0) <= LARGEST_EXACT else ""
    how = METHODS[comparison.adjust]
    clear = (
        f"{better}, {worse}: p of the {exact}two-sided sign-flip test, adjusted over "
        f"{counted(tested, 'difference')} by {how}, is at most {LEVEL:g}"
    )
    rest = "unmarked" if content == "marks" else inconclusive
    if comparison.margin is None:
        return [clear, f"{rest}: neither"]
    margin = metric_names.format_value(comparison.metric, comparison.margin)
    unit = metric_names.display_unit(comparison.metric)
    within = f"within ± {margin}{unit} by two one-sided t tests, Holm-adjusted, at {LEVEL:g}"
    return [f"{equivalent}: {within}", clear, f"{rest}: none of these"]


def _collapsed(comparison: Comparison) -> list[str]:
    """The runs far below their cell, in a sentence; intervals then cover less than they say."""
    found = [
        f"{cell.arm}, {cell.condition}, seed {seed} ({value})"
        for cell in comparison.cells
        for seed in collapsed_seeds(cell.seeds, comparison.metric)
        for value in (metric_names.format_value(comparison.metric, cell.seeds[seed]),)
    ]
    if not found:
        return []
    more = [f"and {len(found) - _NUM_INCOMPLETE_SHOWN} more"] if len(found) > 12 else []
    shown = "; ".join(found[:_NUM_INCOMPLETE_SHOWN] + more)
    return [f"Runs far worse than their cell, whose t interval then covers too little: {shown}."]


def counted(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, limit: int) -> str:
    """The text, cut to the limit with dots at its end where it is longer."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _incomplete_text(cell: Cell) -> str:
    outcomes = ", ".join(f"{count} {name}" for name, count in cell.not_completed.items())
    text = f"{cell.arm}, {cell.condition}: {cell.n} of {cell.planned}"
    return f"{text} ({outcomes})" if outcomes else text


def summarise(comparison: Comparison) -> tuple[str, ...]:
    """One sentence per condition, none stronger than its numbers.

    It names the best mean, and whether that differs from the baseline.
    """
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
    interval = metric_names.format_interval(metric, difference.ci95)
    return f"{text} {interval}, {_verdict_text(difference)}"
