"""Digests of files by their content; loads without torch and numpy."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

__all__ = ["file_digest"]


def file_digest(path: str | Path) -> str:
    """SHA-256 of the content of a file, hexadecimal; read again only where the file changed.

    Raises:
        OSError: If the file cannot be read.
    """
    state = Path(path).stat()
    return _digest(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: str, _size: int, _modified: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
