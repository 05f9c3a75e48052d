"""Tables as text: one renderer per format."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from dynaloss.analysis.tables.content import Entry, Table
from dynaloss.analysis.tables.latex import latex
from dynaloss.errors import InputError


def render(table: Table, format: str = "table", *, width: int = 100) -> str:  # noqa: A002
    """The table in one of the `FORMATS`, as text that ends with a line break.

    The width is that of the terminal, in columns, for `table` alone.

    Raises:
        InputError: If the format is unknown.
    """
    if format == "table":
        from dynaloss.analysis.tables.terminal import plain_text  # rich, for this format alone

        return plain_text(table, width)
    if format not in _RENDERERS:
        raise InputError(f"Unknown format `{format}`; known: {', '.join(FORMATS)}.")
    return _RENDERERS[format](table)


def as_json(content: Mapping[str, Any]) -> str:
    """Values as strict JSON, where NaN is refused."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def table_values(table: Table) -> Mapping[str, Any]:
    """The table as values for JSON; a table of texts has a row as its texts by column."""
    if table.values is not None:
        return table.values
    rows = [dict(zip(table.header, row, strict=True)) for row in table.texts]
    return {"title": table.title, "rows": rows, "notes": list(table.notes)}


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it unchanged, on one line."""
    without_entities = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    return re.sub(r"([\\`*_|<>\[\]#~])", r"\\\1", without_entities).replace("\n", " ")


def _markdown(table: Table) -> str:
    anchor = f'<a id="{table.label}"></a>' if table.label else ""
    bold = f"**{escape_markdown(table.title)}**" if table.title else ""
    title = [anchor + bold, ""] if anchor or bold else []
    heads = [map(escape_markdown, table.header), ["---"] * len(table.header)]
    rows = [map(_markdown_entry, row) for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in (*heads, *rows)]
    notes = [f"{escape_markdown(note)}<br>" for note in table.notes]
    return "\n".join([*title, *lines, "", *notes, ""])


def _markdown_entry(entry: Entry) -> str:
    text = escape_markdown(entry.text)
    shown = f"**{text}**" if entry.place == 1 else text
    return f"{shown}<br>{escape_markdown(entry.below)}" if entry.below else shown


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(table.lines or [table.header, *table.texts])
    return buffer.getvalue()


_RENDERERS: dict[str, Callable[[Table], str]] = {
    "markdown": _markdown,
    "latex": latex,
    "csv": _csv,
    "json": lambda table: as_json(table_values(table)),
}
FORMATS = ("table", *_RENDERERS)
