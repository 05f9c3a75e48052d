"""A comparison as a table: the texts that people read, and every digit for CSV and JSON."""

from __future__ import annotations

import math
from typing import Any

from dynaloss.analysis.frames import plain_value
from dynaloss.analysis.statistics.comparison import POOLED, Cell, Comparison
from dynaloss.analysis.statistics.intervals import Verdict
from dynaloss.analysis.tables.content import Entry, Table
from dynaloss.analysis.wording import Content, difference_text, marked_mean, mean_text, notes
from dynaloss.config.settings import Scalar
from dynaloss.studies.trial_record import Outcome


def comparison_table(comparison: Comparison, content: Content = "differences") -> Table:
    """Arms as rows, conditions as columns; one line per cell in CSV, one object in JSON.

    Args:
        comparison: The comparison.
        content: What a cell shows, see `Content`.
    """
    shown = comparison.pooled if comparison.baseline is not None else ()
    columns = [(c, comparison.column(c)) for c in comparison.conditions]
    columns += [(POOLED, shown)] if shown else []
    heading = {name: getattr(comparison, name) for name in ("study", "metric", "baseline")}
    cells = [
        _values(cell) | {"settings": _settings(comparison, cell)} for cell in comparison.cells
    ]
    lines = [heading | _flat(values) for values in cells]
    return Table(
        header=("arm", *(name for name, _ in columns)),
        rows=tuple(
            (Entry(text=arm), *(_entry(comparison, column[i], content) for _, column in columns))
            for i, arm in enumerate(comparison.arms)
        ),
        notes=notes(comparison, content),
        splits=True,
        values={
            **heading,
            "margin": comparison.margin,
            "adjust": comparison.adjust,
            "cells": cells,
            "pooled": [_values(cell) for cell in shown],
            "warnings": list(comparison.warnings),
        },
        lines=[[*lines[0]], *([*line.values()] for line in lines)],
    )


def _entry(comparison: Comparison, cell: Cell, content: Content) -> Entry:
    unclear = cell.difference is not None and cell.difference.verdict is Verdict.INCONCLUSIVE
    return Entry(
        text=(marked_mean if content == "marks" else mean_text)(comparison, cell),
        below=difference_text(comparison, cell) if content == "differences" else "",
        place=1 if cell.best else 2 if cell.second else 0,
        unclear=unclear and content != "means",
        value=cell.mean,
    )


def _values(cell: Cell) -> dict[str, Any]:
    """A cell as values for strict JSON: None for a value that does not exist."""
    difference = cell.difference
    return {
        "condition": cell.condition,
        "arm": cell.arm,
        "n": cell.n,
        "mean": _finite(cell.mean),
        "std": _finite(cell.std),
        "ci95": cell.ci95 and list(cell.ci95),
        "difference": difference and difference.mean,
        "difference_ci95": difference and difference.ci95 and list(difference.ci95),
        "seeds": {str(seed): value for seed, value in cell.seeds.items()},
        "coverage": {
            "completed": cell.outcomes.get(Outcome.COMPLETED, 0),
            "planned": cell.planned,
            "outcomes": {str(name): count for name, count in cell.not_completed.items()},
        },
        "best_seed": _finite(cell.best_seed),
        "p": difference and _finite(difference.p),
        "p_adjusted": difference and _finite(difference.p_adjusted),
        "p_equivalent": difference and _finite(difference.p_equivalent),
        "simultaneous_ci95": difference and difference.simultaneous and [*difference.simultaneous],
        "effect_size": difference and _finite(difference.effect_size),
        "verdict": difference and str(difference.verdict),
    }


def _settings(comparison: Comparison, cell: Cell) -> dict[str, Scalar]:
    """The settings of a cell's condition; None where no trial of it is recorded."""
    names = sorted({name for own in comparison.settings.values() for name in own})
    own = comparison.settings.get(cell.condition, {})
    return {name: plain_value(own[name]) if name in own else None for name in names}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """The values side by side: the ends of the intervals, the counts, nothing by seed."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name.endswith("ci95"):
            flat[f"{name}_low"], flat[f"{name}_high"] = value or (None, None)
        elif name == "coverage":
            flat |= {count: value[count] for count in ("completed", "planned")}
        elif name == "settings":
            flat |= value
        elif name != "seeds":
            flat[name] = value
    return flat
