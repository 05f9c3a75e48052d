"""Tables in a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from dynaloss.analysis.tables.content import Entry, Table

_GAPS = (3, 2, 1)  # blanks between columns, the most that fit


def renderable(table: Table, *, width: int, emphasis: bool = True) -> RenderableType:
    """A table for a rich console of this width; without emphasis, `*` precedes what is best."""
    star = "" if emphasis else "*"
    needed = [_needed(table, column, star) for column in range(len(table.header))]
    gaps = len(needed) - 1
    gap = next((gap for gap in _GAPS if sum(needed) + gap * gaps <= width), _GAPS[1])
    chunks = _chunks(needed, gap, width) if table.splits else [[*range(len(needed))]]
    parts: list[RenderableType] = []
    for columns in chunks:
        widths = _widths(table, columns, needed, width - gap * (len(columns) - 1))
        parts += ["", _part(table, columns, star, gap, widths), ""]
    title = ("", Text(table.title, style="bold")) if table.title else ()
    notes = [*table.notes]
    if star and any(entry.place == 1 for row in table.rows for entry in row):
        notes.insert(0, f"{star} best of its column.")
    return Group(*title, *parts, *(Text(line, style="dim") for line in notes))


def _part(
    table: Table, columns: Sequence[int], star: str, gap: int, widths: Sequence[int | None]
) -> RenderableType:
    padding = (0, gap - 1, 0, 0)  # the divider is a blank, too
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    for column, width in zip(columns, widths, strict=True):
        shown.add_column(Text(table.header[column]), overflow="fold", width=width)
    for row in table.rows:
        shown.add_row(*(_text(row[column], star) for column in columns))
    return shown


def _text(entry: Entry, star: str) -> Text:
    unclear = "dim italic" if entry.unclear else ""
    is_best = entry.place == 1
    first = f"{star}{entry.text}" if is_best else entry.text
    text = Text(first, style="bold" if is_best else "" if entry.below else unclear)
    if entry.below:
        text.append(f"\n{entry.below}", style=f"not bold {unclear}")
    return text


def _needed(table: Table, column: int, star: str) -> int:
    """Width in which no line of the column breaks, and its heading between words only."""
    lines = [_text(row[column], star).plain for row in table.rows]
    return max(map(len, [*"\n".join(lines).split("\n"), *table.header[column].split()]))


def _chunks(needed: Sequence[int], gap: int, width: int) -> Iterator[list[int]]:
    """Columns in groups that fit side by side, each with the first; at least one other a group."""
    chunk, used = [0], needed[0]
    for column, own in enumerate(needed[1:], start=1):
        if len(chunk) > 1 and used + gap + own > width:
            yield chunk
            chunk, used = [0], needed[0]
        chunk.append(column)
        used += gap + own
    yield chunk


def _widths(
    table: Table, columns: Sequence[int], needed: Sequence[int], room: int
) -> list[int | None]:
    """What the columns need, and for their headings what is left; None where they must fold."""
    widths = [needed[column] for column in columns]
    if sum(widths) > room:
        return [None] * len(columns)
    for _ in range(room - sum(widths)):
        folded = [i for i, column in enumerate(columns) if widths[i] < len(table.header[column])]
        if not folded:
            break
        widths[min(folded, key=widths.__getitem__)] += 1
    return [*widths]


def plain_text(table: Table, width: int) -> str:
    """What a console of this width, without colours, shows; ends with a line break."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_jupyter=False)
    with console.capture() as capture:
        console.print(renderable(table, width=width, emphasis=False))
    text = "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
    return text.lstrip("\n") if table.title else text
