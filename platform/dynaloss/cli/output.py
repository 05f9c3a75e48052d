"""What the commands share to print: results to standard output, progress to standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table as RichTable

from dynaloss.analysis.tables import Table, renderable


def terminal() -> Console:
    """A console on standard error, which leaves standard output to the results."""
    return Console(stderr=True, highlight=False)


def print_columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table without lines."""
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal allows."""
    console = Console(highlight=False)
    console.print(renderable(table, width=console.width))


def print_json(content: Mapping[str, object]) -> None:
    """Prints indented JSON."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))
