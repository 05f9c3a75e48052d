"""A table as values; `formats` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a table.

    Attributes:
        text: Its text.
        below: Second line; empty for none.
        place: 1 for the best of its column, 2 for the second best, 0 for any other.
        unclear: Whether its last line is inconclusive, to be greyed.
        value: The number behind the text, to sort by; None where the text is the number.
    """

    text: str
    below: str = ""
    place: int = 0
    unclear: bool = False
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        title: Heading, or caption; empty for none.
        label: Name by which LaTeX and Markdown refer to it; empty for none.
        header: One name per column; the first column names the row.
        rows: One entry per column.
        notes: How to read it, one sentence each.
        splits: Whether columns too wide for a terminal continue below; otherwise texts fold.
        values: Content of its JSON; the texts unless given.
        lines: Lines of its CSV, the heading first; the texts unless given.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    title: str = ""
    label: str = ""
    notes: tuple[str, ...] = ()
    splits: bool = False
    values: Mapping[str, Any] | None = None
    lines: Sequence[Sequence[object]] = ()

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The first line of every entry."""
        return tuple(tuple(entry.text for entry in row) for row in self.rows)


def text_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, notes: Sequence[str] = ()
) -> Table:
    """A table of plain texts."""
    return Table(
        title=title,
        header=tuple(header),
        rows=tuple(tuple(Entry(text=text) for text in row) for row in rows),
        notes=tuple(notes),
    )
