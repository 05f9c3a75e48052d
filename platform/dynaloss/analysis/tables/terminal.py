"""Tables in a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from dynaloss.analysis.tables.content import Entry, Table

_PADDING = 2
_STARS = 4


def renderable(table: Table, *, width: int, emphasis: bool = True) -> RenderableType:
    """A table for a rich console of this width; without emphasis, `**` surrounds what is best."""
    chunks = _chunks(table, width) if table.splits else [range(1, len(table.header))]
    parts = [_part(table, columns, emphasis) for columns in chunks]
    title = ("", Text(table.title, style="bold")) if table.title else ()
    return Group(*title, *parts, *(Text(line, style="dim") for line in table.notes))


def _part(table: Table, columns: Sequence[int], emphasis: bool) -> RenderableType:
    """The first column and those given."""
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in (0, *columns):
        shown.add_column(Text(table.header[column]), overflow="fold")
    for row in table.rows:
        shown.add_row(*(_text(row[column], emphasis) for column in (0, *columns)))
    return shown


def _text(entry: Entry, emphasis: bool) -> Text:
    unclear = "dim italic" if entry.unclear else ""
    is_best = entry.place == 1
    first = f"**{entry.text}**" if is_best and not emphasis else entry.text
    text = Text(first, style="bold" if is_best else "" if entry.below else unclear)
    if entry.below:
        text.append(f"\n{entry.below}", style=f"not bold {unclear}")
    return text


def _chunks(table: Table, width: int) -> Iterator[list[int]]:
    """Columns in groups that fit side by side; at least one a group."""
    left = max(len(row[0].text) for row in table.rows)
    chunk: list[int] = []
    used = left
    for column in range(1, len(table.header)):
        lines = [line for row in table.rows for line in (row[column].text, row[column].below)]
        widest = max(map(len, [*lines, *table.header[column].split()]))
        needed = widest + _PADDING + _STARS
        if chunk and used + needed > width:
            yield chunk
            chunk, used = [], left
        chunk.append(column)
        used += needed
    yield chunk


def plain_text(table: Table, width: int) -> str:
    """What a console of this width, without colours, shows; ends with a line break."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable(table, width=width, emphasis=False))
    text = "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
    return text.lstrip("\n") if table.title else text
