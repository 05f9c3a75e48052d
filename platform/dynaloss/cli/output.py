"""What the commands share to print results to standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import click
from rich.console import Console

from dynaloss.analysis.tables import Table, text_table
from dynaloss.analysis.tables.terminal import renderable


def print_columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table of plain values."""
    print_table(text_table("", header, [[*map(str, row)] for row in rows]))


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal allows."""
    console = Console(highlight=False)
    console.print(renderable(table, width=console.width))


def print_json(content: Mapping[str, object]) -> None:
    """Prints indented JSON."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))
