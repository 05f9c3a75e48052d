"""A comparison as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dynaloss.analysis.cells import Cell, Comparison
from dynaloss.analysis.latex import escape_latex, latex_number, latex_row, latex_table
from dynaloss.analysis.wording import CANNOT_TELL, difference_text, mean_text, notes
from dynaloss.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = [
    "FORMATS",
    "as_values",
    "escape_markdown",
    "markdown_table",
    "plain_text",
    "render",
    "terminal",
]

_CSV_COLUMNS = (
    *("study", "metric", "baseline", "condition", "arm", "n", "mean", "std"),
    *("ci95_low", "ci95_high", "difference", "difference_ci95_low", "difference_ci95_high"),
    *("completed", "planned", "iqm", "best_seed", "p", "p_holm", "verdict"),
)


def terminal(comparison: Comparison, *, width: int, emphasis: bool = True) -> RenderableType:
    """A table for a rich console, split by conditions where the width does not hold them all.

    Args:
        comparison: What to show.
        width: Columns of the terminal.
        emphasis: Whether the console can show bold; otherwise `**` surrounds the best means.

    Returns:
        A renderable for `rich.console.Console.print`.
    """
    from rich.console import Group
    from rich.text import Text

    tables = [
        _terminal_table(comparison, conditions, emphasis)
        for conditions in _chunks(comparison, width)
    ]
    return Group(*tables, *(Text(line, style="dim") for line in notes(comparison)))


def _terminal_table(
    comparison: Comparison, conditions: Sequence[str], emphasis: bool
) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", overflow="fold")
    for condition in conditions:
        table.add_column(Text(condition), overflow="fold")
    for arm in comparison.arms:
        cells = [comparison.cell(condition, arm) for condition in conditions]
        table.add_row(Text(arm), *(_terminal_text(comparison, cell, emphasis) for cell in cells))
    return table


def _terminal_text(comparison: Comparison, cell: Cell, emphasis: bool) -> Text:
    from rich.text import Text

    mean, *difference = _lines(comparison, cell)
    if cell.best and not emphasis:
        mean = f"**{mean}**"
    text = Text(mean, style="bold" if cell.best else "")
    clear = cell.difference is not None and cell.difference.clear
    for line in difference:
        text.append(f"\n{line}", style="not bold" if clear else "not bold dim italic")
    return text


def _lines(comparison: Comparison, cell: Cell) -> list[str]:
    difference = difference_text(comparison, cell)
    return [mean_text(comparison, cell), *([difference] if difference else [])]


def _chunks(comparison: Comparison, width: int) -> list[list[str]]:
    """Conditions in groups whose columns fit side by side; at least one a group."""
    left = max(len(arm) for arm in comparison.arms)
    chunks: list[list[str]] = [[]]
    used = left
    for condition in comparison.conditions:
        needed = _column_width(comparison, condition)
        if chunks[-1] and used + needed > width:
            chunks.append([])
            used = left
        chunks[-1].append(condition)
        used += needed
    return chunks


def _column_width(comparison: Comparison, condition: str) -> int:
    padding, stars = 2, 4
    lines = [
        len(line) for cell in comparison.column(condition) for line in _lines(comparison, cell)
    ]
    words = [len(word) for word in condition.split()]
    return max(lines + words) + padding + stars


def plain_text(shown: RenderableType, width: int) -> str:
    """What a console of this width, without colours, shows; ends with a line break."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _render_markdown(comparison: Comparison) -> str:
    rows = []
    for arm in comparison.arms:
        cells = [comparison.cell(condition, arm) for condition in comparison.conditions]
        rows.append([escape_markdown(arm), *(_markdown_text(comparison, cell) for cell in cells)])
    return markdown_table(["arm", *comparison.conditions], rows, notes(comparison))


def _markdown_text(comparison: Comparison, cell: Cell) -> str:
    mean, *difference = [escape_markdown(line) for line in _lines(comparison, cell)]
    return "<br>".join([f"**{mean}**" if cell.best else mean, *difference])


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[str]
) -> str:
    """A table, and notes below it.

    Args:
        header: Names of the columns, as plain text.
        rows: Cells that are Markdown already.
        below: The notes, as plain text, a line each.
    """
    heads = [map(escape_markdown, header), ["---"] * len(header)]
    table = [f"| {' | '.join(row)} |" for row in (*heads, *rows)]
    return "\n".join([*table, "", *(f"{escape_markdown(note)}<br>" for note in below), ""])


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it as it is, on one line."""
    without_entities = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    return re.sub(r"([\\`*_|<>\[\]#~])", r"\\\1", without_entities).replace("\n", " ")


def _render_latex(comparison: Comparison) -> str:
    rows = [line for arm in comparison.arms for line in _latex_rows(comparison, arm)]
    legend = "Bold: best mean of the column; underlined: second best."
    return latex_table(
        ["arm", *comparison.conditions], rows, " ".join([*notes(comparison), legend])
    )


def _latex_rows(comparison: Comparison, arm: str) -> list[str]:
    cells = [comparison.cell(condition, arm) for condition in comparison.conditions]
    means = [_latex_mean(comparison, cell) for cell in cells]
    rows = [latex_row([escape_latex(arm), *means])]
    differences = [_latex_difference(comparison, cell) for cell in cells]
    if any(differences):
        rows.append(latex_row(["", *differences]))
    return rows


def _latex_mean(comparison: Comparison, cell: Cell) -> str:
    text = latex_number(mean_text(comparison, cell))
    if cell.best:
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if cell.second else text


def _latex_difference(comparison: Comparison, cell: Cell) -> str:
    """The second line of a cell; grey where nothing can be told."""
    text = latex_number(difference_text(comparison, cell))
    if not text:
        return ""
    grey = "" if cell.difference and cell.difference.clear else r"\color{gray}"
    return rf"{{\footnotesize{grey} {text}}}"


def _render_csv(comparison: Comparison) -> str:
    """One line per cell, full precision, empty where there is no value."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for cell in comparison.cells:
        plain = _plain(cell)
        ends = {
            f"{name}_{end}": value
            for name in ("ci95", "difference_ci95")
            for end, value in zip(("low", "high"), plain[name] or (), strict=False)
        }
        writer.writerow(_heading(comparison) | plain | plain["coverage"] | ends)
    return buffer.getvalue()


def _heading(comparison: Comparison) -> dict[str, str | None]:
    return {name: getattr(comparison, name) for name in ("study", "metric", "baseline")}


def _plain(cell: Cell) -> dict[str, Any]:
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
            "completed": cell.coverage.completed,
            "planned": cell.coverage.planned,
            "outcomes": {str(name): count for name, count in cell.coverage.outcomes.items()},
        },
        "iqm": _finite(cell.iqm),
        "best_seed": _finite(cell.best_seed),
        "p": difference and _finite(difference.p),
        "p_holm": difference and _finite(difference.p_holm),
        "verdict": difference and ("clear" if difference.clear else CANNOT_TELL),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_values(comparison: Comparison) -> dict[str, Any]:
    """The comparison as values for strict JSON: one that does not exist is null."""
    return _heading(comparison) | {
        "cells": [_plain(cell) for cell in comparison.cells],
        "warnings": list(comparison.warnings),
    }


def _render_json(comparison: Comparison) -> str:
    content = as_values(comparison)
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_RENDERERS: dict[str, Callable[[Comparison], str]] = {
    "markdown": _render_markdown,
    "latex": _render_latex,
    "csv": _render_csv,
    "json": _render_json,
}
FORMATS = ("table", *_RENDERERS)


def render(comparison: Comparison, format: str = "table", *, width: int = 100) -> str:  # noqa: A002
    """The comparison as text that ends with a line break.

    Args:
        comparison: What to show.
        format: One of `FORMATS`.
        width: Columns of the terminal; only `table` looks at it.

    Raises:
        InputError: If the format is unknown.
    """
    if format == "table":
        return plain_text(terminal(comparison, width=width, emphasis=False), width)
    if format not in _RENDERERS:
        raise InputError(f"Unknown format `{format}`; known: {', '.join(FORMATS)}.")
    return _RENDERERS[format](comparison)
