"""What notebooks show of plans and launches."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

_MOST_ROWS = 60


def notebook_html(lines: Iterable[str], frame: pandas.DataFrame | None = None) -> str:
    """Lines of text as HTML, then a frame; of a long one the first and last rows."""
    shown = "".join(f"<div>{escape(line)}</div>\n" for line in lines)
    if frame is None or frame.empty:
        return shown
    return shown + frame.to_html(index=False, max_rows=_MOST_ROWS, border=0)
