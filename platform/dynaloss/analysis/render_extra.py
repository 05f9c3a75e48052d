"""The tables beside a comparison as text, in the same formats as the comparison."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from dynaloss.analysis.render import escape_latex, escape_markdown
from dynaloss.analysis.tables import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["render_extra", "terminal_extra"]


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
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(terminal_extra(table))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).lstrip("\n") + "\n"


def _markdown(table: Table) -> str:
    rows = [[escape_markdown(text) for text in row] for row in (table.header, *table.rows)]
    rows.insert(1, ["---"] * len(table.header))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    notes = [f"{escape_markdown(note)}<br>" for note in table.notes]
    return "\n".join([f"**{escape_markdown(table.title)}**", "", *lines, "", *notes, ""])


def _latex(table: Table) -> str:
    def line(texts: tuple[str, ...]) -> str:
        return " & ".join(escape_latex(text) for text in texts) + r" \\"

    caption = escape_latex(". ".join([table.title, " ".join(table.notes)]))
    head = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
    ]
    foot = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    body = [r"\toprule", line(table.header), r"\midrule", *map(line, table.rows)]
    return "\n".join([*head, *body, *foot, ""])


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([table.header, *table.rows])
    return buffer.getvalue()


def _json(table: Table) -> str:
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    content = {"title": table.title, "rows": rows, "notes": list(table.notes)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


_RENDERERS: dict[str, Callable[[Table], str]] = {
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
