"""Data sources of other packages; loads without torch and numpy."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

GROUP = "dynaloss.sources"
"""Entry point group: name of a source, and a callable of `SourceSettings`."""


@cache
def user_sources() -> dict[str, EntryPoint]:
    """Entry points of the group by name, in order; nothing is imported."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP))}
