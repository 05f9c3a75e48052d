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
from dynaloss.analysis.wording import CANNOT_TELL, difference_text, mean_text, notes
from dynaloss.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["FORMATS", "escape_latex", "escape_markdown", "render", "terminal"]

_CSV_COLUMNS = (
    *("study", "metric", "baseline", "condition", "arm", "n", "mean", "std"),
    *("ci95_low", "ci95_high", "difference", "difference_ci95_low", "difference_ci95_high"),
    *("completed", "planned", "iqm", "best_seed", "p", "p_holm", "verdict"),
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "†": r"$\dagger$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
# After `\\\\` or a rule, these three would be read as its arguments.
_LATEX |= {character: f"{{{character}}}" for character in "[]*"}


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


def _render_table(comparison: Comparison, width: int) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(terminal(comparison, width=width, emphasis=False))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _render_markdown(comparison: Comparison) -> str:
    names = [escape_markdown(name) for name in ("arm", *comparison.conditions)]
    rows = [names, ["---"] * len(names)]
    for arm in comparison.arms:
        cells = [comparison.cell(condition, arm) for condition in comparison.conditions]
        rows.append([escape_markdown(arm), *(_markdown_text(comparison, cell) for cell in cells)])
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*table, "", *map(_markdown_note, notes(comparison)), ""])


def _markdown_text(comparison: Comparison, cell: Cell) -> str:
    mean, *difference = [escape_markdown(line) for line in _lines(comparison, cell)]
    return "<br>".join([f"**{mean}**" if cell.best else mean, *difference])


def _markdown_note(line: str) -> str:
    return f"{escape_markdown(line)}<br>"


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_|<>\[\]#])", r"\\\1", text).replace("\n", " ")


def _render_latex(comparison: Comparison) -> str:
    """A `table` environment that needs the booktabs and xcolor packages."""
    columns = "l" + "r" * len(comparison.conditions)
    head = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    names = ["arm", *map(escape_latex, comparison.conditions)]
    body = [line for arm in comparison.arms for line in _latex_rows(comparison, arm)]
    legend = "Bold: best mean of the column; underlined: second best."
    caption = escape_latex(" ".join([*notes(comparison), legend]))
    foot = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    return "\n".join([*head, _latex_row(names), r"\midrule", *body, *foot, ""])


def _latex_rows(comparison: Comparison, arm: str) -> list[str]:
    cells = [comparison.cell(condition, arm) for condition in comparison.conditions]
    means = [escape_latex(mean_text(comparison, cell)) for cell in cells]
    means = [_latex_emphasis(text, cell) for text, cell in zip(means, cells, strict=True)]
    rows = [_latex_row([escape_latex(arm), *means])]
    differences = [_latex_difference(comparison, cell) for cell in cells]
    if any(differences):
        rows.append(_latex_row(["", *differences]))
    return rows


def _latex_emphasis(text: str, cell: Cell) -> str:
    if cell.best:
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if cell.second else text


def _latex_difference(comparison: Comparison, cell: Cell) -> str:
    """The second line of a cell; grey where nothing can be told."""
    text = escape_latex(difference_text(comparison, cell)).replace("-", "$-$")
    if not text:
        return ""
    grey = "" if cell.difference and cell.difference.clear else r"\color{gray}"
    return rf"{{\footnotesize{grey} {text}}}"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def escape_latex(text: str) -> str:
    """The text as LaTeX that shows it as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def _render_csv(comparison: Comparison) -> str:
    """One line per cell, full precision, empty where there is no value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for cell in comparison.cells:
        plain = _plain(cell)
        ends = [*(plain["ci95"] or ("", "")), *(plain["difference_ci95"] or ("", ""))]
        writer.writerow(
            [comparison.study, comparison.metric, comparison.baseline or ""]
            + [plain[name] for name in ("condition", "arm", "n", "mean", "std")]
            + [*ends[:2], plain["difference"], *ends[2:]]
            + [cell.coverage.completed, cell.coverage.planned]
            + [plain[name] for name in ("iqm", "best_seed", "p", "p_holm", "verdict")]
        )
    return buffer.getvalue()


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


def _render_json(comparison: Comparison) -> str:
    """Strict JSON: a value that does not exist is null."""
    content = {
        "study": comparison.study,
        "metric": comparison.metric,
        "baseline": comparison.baseline,
        "cells": [_plain(cell) for cell in comparison.cells],
        "warnings": list(comparison.warnings),
    }
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
        return _render_table(comparison, width)
    if format not in _RENDERERS:
        raise InputError(f"Unknown format `{format}`; known: {', '.join(FORMATS)}.")
    return _RENDERERS[format](comparison)
