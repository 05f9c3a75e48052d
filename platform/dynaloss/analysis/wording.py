"""Words for cells and comparisons, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dynaloss.analysis import metric_names
from dynaloss.analysis.statistics.comparison import Cell, Comparison
from dynaloss.analysis.statistics.intervals import BOOTSTRAP_FROM, Interval, PairedDifference
from dynaloss.analysis.statistics.significance import LARGEST_EXACT, sign_flip_floor

EMPTY = "–"
_MARK = "†"
_NUM_INCOMPLETE_SHOWN = 12
INCONCLUSIVE = "inconclusive"


def mean_text(comparison: Comparison, cell: Cell) -> str:
    """`87.3 ± 1.2`, marked where incomplete; a dash where there is nothing."""
    mark = _MARK if cell.incomplete else ""
    if not cell.n:
        return EMPTY + mark
    spread = "" if math.isnan(cell.std) else f" ± {value_text(comparison, cell.std)}"
    return value_text(comparison, cell.mean) + spread + mark


def unit_text(comparison: Comparison) -> str:
    """Name of the metric, with the unit in which the texts give it."""
    return comparison.metric if comparison.exact else metric_names.label(comparison.metric)


def value_text(comparison: Comparison, value: float) -> str:
    """A value of the metric, with every digit where the comparison says so."""
    return repr(value) if comparison.exact else metric_names.format_value(comparison.metric, value)


def interval_text(comparison: Comparison, interval: Interval) -> str:
    """`[3.1, 9.0]`, as `value_text`."""
    low, high = (value_text(comparison, end) for end in interval)
    return f"[{low}, {high}]"


def difference_text(comparison: Comparison, cell: Cell) -> str:
    """`+6.2 [3.1, 9.0] p 0.03`, the paired difference to the baseline; empty where there is none.

    Where the interval covers zero, or there is none, it shows `inconclusive` instead of p.
    """
    if cell.difference is None:
        return ""
    found, metric = cell.difference, comparison.metric
    shift = (
        f"{found.mean:+}" if comparison.exact else metric_names.format_signed(metric, found.mean)
    )
    interval = f" {interval_text(comparison, found.ci95)}" if found.ci95 else ""
    verdict = p_text(found.p_holm) if found.clear else INCONCLUSIVE
    return f"{shift}{interval} {verdict}"


def p_text(p: float) -> str:
    """`p 0.031`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}"


def notes(comparison: Comparison) -> tuple[str, ...]:
    """Meaning of the numbers of the table, and its incomplete cells, one sentence each."""
    lines = [
        *comparison.warnings,
        f"{unit_text(comparison)}: mean ± standard deviation over seeds, {_n(comparison)}.",
    ]
    differences = [cell.difference for cell in comparison.cells if cell.difference]
    if comparison.baseline is not None:
        lines += _difference_notes(comparison.baseline, differences)
    incomplete = [_incomplete_text(cell) for cell in comparison.cells if cell.incomplete]
    shown = incomplete[:_NUM_INCOMPLETE_SHOWN]
    if len(incomplete) > len(shown):
        shown.append(f"and {len(incomplete) - len(shown)} more")
    if shown:
        lines.append(f"{_MARK} Incomplete: {'; '.join(shown)}.")
    return tuple(lines)


def _n(comparison: Comparison) -> str:
    counts = sorted({cell.n for cell in comparison.cells if cell.n})
    ends = dict.fromkeys(map(str, (*counts[:1], *counts[-1:])))
    return f"n = {' to '.join(ends) or 0}"


def _difference_notes(baseline: str, differences: Sequence[PairedDifference]) -> list[str]:
    pairs = {difference.n for difference in differences}
    kinds = [
        kind
        for kind, used in (
            ("t", any(n < BOOTSTRAP_FROM for n in pairs)),
            ("BCa bootstrap", any(n >= BOOTSTRAP_FROM for n in pairs)),
        )
        if used
    ]
    exact = "exact " if max(pairs, default=0) <= LARGEST_EXACT else ""
    lines = [
        f"Second line: difference to {baseline}, paired by seed, "
        f"[95 % {' or '.join(kinds) or 't'} interval]; p: {exact}two-sided sign-flip test, "
        f"Holm-corrected over {counted(len(differences), 'difference')}; "
        f"{INCONCLUSIVE}: the interval covers zero, or one seed gives none."
    ]
    fewest = min(pairs, default=0)
    if fewest > 1 and sign_flip_floor(fewest) > 0.05:
        lines.append(
            f"{fewest} seeds cannot reach p < 0.05 in a sign-flip or signed-rank test: "
            f"the smallest p is {sign_flip_floor(fewest):.3g}, uncorrected."
        )
    return lines


def counted(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, limit: int) -> str:
    """The text, cut to the limit with dots at its end where it is longer."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _incomplete_text(cell: Cell) -> str:
    outcomes = ", ".join(f"{count} {name}" for name, count in cell.coverage.outcomes.items())
    text = f"{cell.arm}, {cell.condition}: {cell.n} of {cell.coverage.planned}"
    return f"{text} ({outcomes})" if outcomes else text
