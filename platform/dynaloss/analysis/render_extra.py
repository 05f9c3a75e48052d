"""The tables beside a comparison as text, in the same formats as the comparison."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dynaloss.analysis.latex import escape_latex, latex_number, latex_row, latex_table
from dynaloss.analysis.render import escape_markdown, markdown_table, plain_text
from dynaloss.analysis.tables import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["extra_values", "render_extra", "terminal_extra"]


def terminal_extra(table: Table) -> RenderableType:
    """A table for a rich console."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in table.header:
        shown.add_column(Text(name), overflow="fold")
    for row, texts in enumerate(table.rows):
        styles = ["dim italic" if (row, c) in table.unclear else "" for c in range(len(texts))]
        shown.add_row(*(Text(text, style=s) for text, s in zip(texts, styles, strict=True)))
    title = Text(table.title, style="bold")
    return Group("", title, shown, *(Text(note, style="dim") for note in table.notes))


def render_extra(table: Table, format: str = "table", *, width: int = 100) -> str:  # noqa: A002
    """The table as text that ends with a line break; see `render` for the arguments."""
    if format != "table":
        return _RENDERERS[format](table)
    return plain_text(terminal_extra(table), width).lstrip("\n")


def _markdown(table: Table) -> str:
    rows = [[escape_markdown(text) for text in row] for row in table.rows]
    title = f"**{escape_markdown(table.title)}**"
    return f"{title}\n\n{markdown_table(table.header, rows, table.notes)}"


def _latex(table: Table) -> str:
    rows = []
    for row, (name, *texts) in enumerate(table.rows):
        greyed = [(row, column) in table.unclear for column in range(1, len(table.header))]
        cells = [_latex_cell(text, grey) for text, grey in zip(texts, greyed, strict=True)]
        rows.append(latex_row([escape_latex(name), *cells]))
    return latex_table(table.header, rows, ". ".join([table.title, " ".join(table.notes)]))


def _latex_cell(text: str, grey: bool) -> str:
    shown = latex_number(text)
    return rf"{{\color{{gray}} {shown}}}" if grey else shown


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([table.header, *table.rows])
    return buffer.getvalue()


def extra_values(table: Table) -> dict[str, Any]:
    """The table as values for JSON, a row as its texts by column."""
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    return {"title": table.title, "rows": rows, "notes": list(table.notes)}


def _json(table: Table) -> str:
    return json.dumps(extra_values(table), indent=2, ensure_ascii=False) + "\n"


_RENDERERS: dict[str, Callable[[Table], str]] = {
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
