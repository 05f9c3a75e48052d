"""Tables as values, and one renderer for each format."""

from dynaloss.analysis.tables.content import Entry, Table, text_table
from dynaloss.analysis.tables.formats import (
    FORMATS,
    as_json,
    escape_markdown,
    render,
    table_values,
)

__all__ = [
    "FORMATS",
    "Entry",
    "Table",
    "as_json",
    "escape_markdown",
    "render",
    "table_values",
    "text_table",
]
