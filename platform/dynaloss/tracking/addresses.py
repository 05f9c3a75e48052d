"""Addresses of tracking stores: what they point to, and how they are shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_SQLITE: Final = "sqlite:///"


def is_server(tracking_uri: str) -> bool:
    """Whether the URI is that of a tracking server, reached over HTTP."""
    return tracking_uri.startswith(("http://", "https://", "databricks"))


def is_sql(tracking_uri: str) -> bool:
    """Whether the URI is that of an SQL database, reached directly."""
    scheme, separator, _ = tracking_uri.partition("://")
    return bool(separator) and scheme != "file" and not is_server(tracking_uri)


def sqlite_path(tracking_uri: str) -> Path | None:
    """The file of a SQLite store; None for every other store and for one in memory."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    name = tracking_uri.removeprefix(_SQLITE).partition("?")[0]
    return Path(name) if name and name != ":memory:" else None


def redacted(text: str) -> str:
    """The text without the user names, passwords and tokens of the addresses it may hold.

    A password may hold any character: all up to the last `@` of the line goes.
    """
    bare = re.sub(r"(://|https?:)(?!/).*@", r"\1***@", text)
    return re.sub(r"(?i)([?&]\w*(?:password|passwd|pwd|token|secret)=)[^&\s]+", r"\1***", bare)
