"""Tables of one run, and of the differences between two."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dynaloss.analysis.statistics.series import (
    Diagnostics,
    centred_margins,
    class_names,
    corrector_table,
    row_shares,
)
from dynaloss.analysis.tables.content import Table, text_table
from dynaloss.analysis.wording import EMPTY, shortened
from dynaloss.studies import metric_names
from dynaloss.studies.trial_record import TrialRecord

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDEST = 40
_MOST_CLASSES = 20


def difference_tables(one: TrialRecord, other: TrialRecord) -> list[Table]:
    """Differences between two runs, a table each for settings, data, environment, metrics."""
    names = ("study", "condition", "arm", "seed", "outcome", "key", "run_id")
    parts: dict[str, Callable[[TrialRecord], Mapping[str, Any]]] = {
        "Trial": lambda record: {name: str(getattr(record, name)) for name in names},
        "Settings": lambda record: record.parameters,
        "Data": lambda record: record.diagnostics.get("data", {}),
        "Environment": lambda record: record.tags,
    }
    tables = [_differing(title, part(one), part(other)) for title, part in parts.items()]
    tables.append(_metrics_differing(one.metrics, other.metrics))
    return [table for table in tables if table.rows]


def _differing(title: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Table:
    rows = []
    for name in sorted({**one, **other}):
        values = one.get(name, EMPTY), other.get(name, EMPTY)
        if one.get(name) != other.get(name):
            texts = (v if isinstance(v, str) else shortened(str(v), 80) for v in values)
            rows.append((name, *texts))
    return text_table(title, ("name", "first", "second"), rows)


def _metrics_differing(one: Mapping[str, float], other: Mapping[str, float]) -> Table:
    rows = []
    for name in sorted(one.keys() | other.keys()):
        left, right = one.get(name, math.nan), other.get(name, math.nan)
        if left != right and not (math.isnan(left) and math.isnan(right)):
            texts = (_number(left, ".6g"), _number(right, ".6g"), _number(right - left, "+.4g"))
            rows.append((name, *texts))
    header = ("metric", "first", "second", "second - first")
    return text_table("Metrics, last values", header, rows)


def run_tables(record: TrialRecord) -> list[Table]:
    """Curves, corrector, margins and confusion matrix of one run, as texts for a terminal."""
    found = record.diagnostics
    tables = [_curves(record), *_corrector(found), *_margins(found), *_confusion(found)]
    return [table for table in tables if table.rows]


def _curves(record: TrialRecord) -> Table:
    rows = []
    for name, curve in record.history.items():
        if curve and name != "epoch":
            ends = (metric_names.format_value(name, curve[place][1]) for place in (0, -1))
            rows.append((name, _spark([value for _, value in curve]), *ends))
    return text_table("Curves over the epochs", ("metric", "curve", "first", "last"), rows)


def _spark(values: Sequence[float]) -> str:
    """The values as blocks from lowest to highest, thinned to fit a line."""
    shown = values[:: -(-len(values) // _WIDEST)]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span, last = high - low or 1.0, len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[round((value - low) / span * last)] if math.isfinite(value) else "?"
        for value in shown
    )


def _corrector(diagnostics: Diagnostics) -> Iterator[Table]:
    table = corrector_table(diagnostics)
    if table is not None:
        header = ("loss rank", "weight", "", "true clean share", "")
        rows = [
            (f"{rank:.3f}", f"{weight:.2f}", _bar(weight), _number(clean, ".2f"), _bar(clean))
            for rank, weight, clean in table.T.tolist()
        ]
        yield text_table("Label corrector", header, rows)


def _bar(share: float) -> str:
    return "" if math.isnan(share) else "█" * round(20 * min(max(share, 0.0), 1.0))


def _margins(diagnostics: Diagnostics) -> Iterator[Table]:
    values = centred_margins(diagnostics)
    if values is not None:
        counts = diagnostics["margins"]["class_counts"]
        names = class_names(diagnostics, len(values))
        order = sorted(range(len(values)), key=lambda index: -counts[index])
        rows = [(names[i], f"{counts[i]:.0f}", f"{values[i]:+.3f}") for i in order]
        header = ("class", "training samples", "margin")
        yield text_table("Margins, mean-centred, in nats", header, rows)


def _confusion(diagnostics: Diagnostics) -> Iterator[Table]:
    """Rows in percent of their true class; many classes show only the accuracy within each."""
    if "confusion" not in diagnostics:
        return
    shares = 100 * row_shares(np.asarray(diagnostics["confusion"]["matrix"], dtype=np.float64))
    names = class_names(diagnostics, len(shares))
    if len(shares) > _MOST_CLASSES:
        title, header = "Accuracy in the class (%)", ["class", "accuracy"]
        shares = shares.diagonal()[:, None]
    else:
        title = "Confusion on the test set, % of the true class"
        header = ["true \\ predicted", *names]
    rows = [
        (name, *("." if share < 0.5 else _number(share, ".0f") for share in row))
        for name, row in zip(names, shares, strict=True)
    ]
    yield text_table(title, header, rows)


def _number(value: float, form: str) -> str:
    return EMPTY if math.isnan(value) else f"{value:{form}}"
