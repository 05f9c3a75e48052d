"""One run in the terminal, and what differs between two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynaloss.analysis import metrics
from dynaloss.analysis.series import centred_margins, class_names, corrector_table, row_shares
from dynaloss.analysis.tables import Table
from dynaloss.analysis.wording import EMPTY, shortened
from dynaloss.studies.trial_record import TrialRecord

__all__ = ["difference_tables", "run_tables"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDEST = 40
_MOST_CLASSES = 20


def difference_tables(one: TrialRecord, other: TrialRecord) -> list[Table]:
    """What differs between two runs, a table each for settings, data, environment, metrics."""
    pairs = [
        ("Trial", _identity(one), _identity(other)),
        ("Settings", one.parameters, other.parameters),
        ("Data", one.diagnostics.get("data", {}), other.diagnostics.get("data", {})),
        ("Environment", one.tags, other.tags),
    ]
    tables = [_differing(title, left, right) for title, left, right in pairs]
    tables.append(_metrics_differing(one.metrics, other.metrics))
    return [table for table in tables if table.rows]


def _identity(record: TrialRecord) -> dict[str, str]:
    names = ("study", "condition", "arm", "seed", "outcome", "key", "run_id")
    return {name: str(getattr(record, name)) for name in names}


def _differing(title: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Table:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    rows = tuple((name, *(_value(side, name) for side in (one, other))) for name in sorted(names))
    return Table(title=title, header=("name", "first", "second"), rows=rows)


def _value(side: Mapping[str, Any], name: str) -> str:
    value = side.get(name, EMPTY)
    return value if isinstance(value, str) else shortened(str(value), 80)


def _metrics_differing(one: Mapping[str, float], other: Mapping[str, float]) -> Table:
    rows = []
    for name in sorted(one.keys() | other.keys()):
        left, right = one.get(name, math.nan), other.get(name, math.nan)
        if left != right and not (math.isnan(left) and math.isnan(right)):
            rows.append((name, _number(left), _number(right), _signed(right - left)))
    return Table(
        title="Metrics, last values",
        header=("metric", "first", "second", "second - first"),
        rows=tuple(rows),
    )


def _number(value: float) -> str:
    return EMPTY if math.isnan(value) else f"{value:.6g}"


def _signed(value: float) -> str:
    return EMPTY if math.isnan(value) else f"{value:+.4g}"


def run_tables(record: TrialRecord) -> list[Table]:
    """One run as tables that a terminal can show: curves, corrector, margins, confusion."""
    tables = [
        _curves(record),
        _corrector(record.diagnostics),
        _margins(record.diagnostics),
        _confusion(record.diagnostics),
    ]
    return [table for table in tables if table is not None and table.rows]


def _curves(record: TrialRecord) -> Table:
    rows = tuple(
        (name, _spark([value for _, value in curve]), *_ends(name, curve))
        for name, curve in record.history.items()
        if curve and name != "epoch"
    )
    return Table(
        title="Curves over the epochs", header=("metric", "curve", "first", "last"), rows=rows
    )


def _ends(name: str, curve: Sequence[tuple[int, float]]) -> tuple[str, str]:
    first, last = curve[0][1], curve[-1][1]
    return metrics.format_value(name, first), metrics.format_value(name, last)


def _spark(values: Sequence[float]) -> str:
    """The values as blocks from lowest to highest, thinned to fit a line."""
    step = -(-len(values) // _WIDEST)
    shown = list(values)[::step]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_block(value, low, high) for value in shown)


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "?"
    share = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[round(share * (len(_BLOCKS) - 1))]


def _corrector(diagnostics: Mapping[str, Any]) -> Table | None:
    table = corrector_table(diagnostics)
    if table is None:
        return None
    rows = tuple(
        (f"{rank:.3f}", f"{weight:.2f}", _bar(weight), _share(clean), _bar(clean))
        for rank, weight, clean in table.T.tolist()
    )
    return Table(
        title="Label corrector",
        header=("loss rank", "weight", "", "true clean share", ""),
        rows=rows,
    )


def _share(value: float) -> str:
    return EMPTY if math.isnan(value) else f"{value:.2f}"


def _bar(share: float) -> str:
    return "" if math.isnan(share) else "█" * round(20 * min(max(share, 0.0), 1.0))


def _margins(diagnostics: Mapping[str, Any]) -> Table | None:
    values = centred_margins(diagnostics)
    if values is None:
        return None
    counts = diagnostics["margins"]["class_counts"]
    names = class_names(diagnostics, len(values))
    order = sorted(range(len(values)), key=lambda index: -counts[index])
    rows = tuple((names[i], f"{counts[i]:.0f}", f"{values[i]:+.3f}") for i in order)
    return Table(
        title="Margins, mean-centred, in nats",
        header=("class", "training samples", "margin"),
        rows=rows,
    )


def _confusion(diagnostics: Mapping[str, Any]) -> Table | None:
    """Rows in percent of their true class; many classes show only the accuracy within each."""
    if "confusion" not in diagnostics:
        return None
    shares = 100 * row_shares(np.asarray(diagnostics["confusion"]["matrix"], dtype=np.float64))
    names = class_names(diagnostics, len(shares))
    if len(shares) > _MOST_CLASSES:
        rows = tuple((name, _percent(v)) for name, v in zip(names, shares.diagonal(), strict=True))
        return Table(title="Accuracy in the class (%)", header=("class", "accuracy"), rows=rows)
    return Table(
        title="Confusion on the test set, % of the true class",
        header=("true \\ predicted", *names),
        rows=tuple(
            (name, *(_percent(share) for share in row))
            for name, row in zip(names, shares, strict=True)
        ),
    )


def _percent(share: float) -> str:
    return EMPTY if math.isnan(share) else ("." if share < 0.5 else f"{share:.0f}")
