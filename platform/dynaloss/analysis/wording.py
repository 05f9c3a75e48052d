"""How a cell and a table are put in words, the same for every format."""

from __future__ import annotations

from dynaloss.analysis import metrics
from dynaloss.analysis.cells import Cell, Comparison

__all__ = ["EMPTY", "MARK", "difference_text", "mean_text", "notes"]

EMPTY = "–"
MARK = "*"
_NUM_INCOMPLETE_SHOWN = 12
_FEW_SEEDS = 10
_SMALL_NOTE = (
    "Bootstrap intervals of few seeds are narrower than they claim: "
    "of 3 seeds they cover about 75 %, of 5 about 83 %."
)


def mean_text(comparison: Comparison, cell: Cell) -> str:
    """`87.3 ± 1.2`, marked where incomplete; a dash where there is nothing."""
    mark = MARK if cell.incomplete else ""
    if not cell.n:
        return EMPTY + mark
    return metrics.format_mean(comparison.metric, cell.mean, cell.std) + mark


def difference_text(comparison: Comparison, cell: Cell) -> str:
    """`+6.2 [3.1, 9.0]`, the paired difference to the baseline; empty where there is none."""
    if cell.difference is None:
        return ""
    text = metrics.format_signed(comparison.metric, cell.difference.mean)
    if cell.difference.ci95 is None:
        return text
    return f"{text} {metrics.format_interval(comparison.metric, cell.difference.ci95)}"


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What the numbers of the table are, and which of its cells are incomplete."""
    lines = [f"{metrics.label(comparison.metric)}: mean ± standard deviation over seeds."]
    if comparison.baseline is not None:
        lines.append(
            f"Second line: paired difference to {comparison.baseline}, [95 % bootstrap interval]."
        )
        if _is_small(comparison):
            lines.append(_SMALL_NOTE)
    incomplete = [_incomplete_text(cell) for cell in comparison.cells if cell.incomplete]
    shown = incomplete[:_NUM_INCOMPLETE_SHOWN]
    if len(incomplete) > len(shown):
        shown.append(f"and {len(incomplete) - len(shown)} more")
    if shown:
        lines.append(f"{MARK} Incomplete: {'; '.join(shown)}.")
    return tuple(lines)


def _is_small(comparison: Comparison) -> bool:
    differences = [cell.difference for cell in comparison.cells]
    return any(difference and 1 < difference.n < _FEW_SEEDS for difference in differences)


def _incomplete_text(cell: Cell) -> str:
    outcomes = ", ".join(f"{count} {name}" for name, count in cell.coverage.outcomes.items())
    text = f"{cell.arm}, {cell.condition}: {cell.n} of {cell.coverage.planned}"
    return f"{text} ({outcomes})" if outcomes else text
