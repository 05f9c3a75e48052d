"""Where results live: the storage folder, the tracking store and its artifacts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

__all__ = [
    "is_server",
    "is_sql",
    "redacted",
    "resolve_artifact_root",
    "resolve_storage",
    "resolve_tracking_uri",
    "sqlite_path",
]

_SQLITE: Final = "sqlite:///"


def resolve_storage(storage: str | Path | None) -> Path:
    """The folder of results: the argument, then DYNALOSS_STORAGE, then `results`; absolute."""
    chosen = storage or os.environ.get("DYNALOSS_STORAGE") or "results"
    return Path(chosen).expanduser().resolve()


def resolve_tracking_uri(tracking_uri: str | None, storage: Path) -> str:
    """The tracking store: the argument, then MLFLOW_TRACKING_URI, then SQLite under `storage`.

    A relative SQLite path is made absolute, so that the interface and the workers, which may
    run in other folders, open the same file.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return f"{_SQLITE}{storage.absolute() / 'mlflow.db'}"
    path = sqlite_path(uri)
    if path is None or path.is_absolute():
        return uri
    return f"{_SQLITE}{path.absolute()}{_query(uri)}"


def resolve_artifact_root(tracking_uri: str, storage: Path) -> str | None:
    """The file URI of the artifacts; None where the server or the file store decides."""
    return (storage.absolute() / "artifacts").as_uri() if is_sql(tracking_uri) else None


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


def redacted(tracking_uri: str) -> str:
    """The URI without the user name and the password it may hold."""
    return re.sub(r"//[^/@\s]+@", "//***@", tracking_uri)


def _query(uri: str) -> str:
    _, mark, query = uri.partition("?")
    return mark + query
