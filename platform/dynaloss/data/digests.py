"""Digests of files by their content, and of plain values; loads without torch and numpy."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path


def file_digest(path: str | Path) -> str:
    """SHA-256 of the content of a file, hexadecimal; read again only where the file changed.

    Raises:
        OSError: If the file cannot be read.
    """
    state = Path(path).stat()
    return _digest(str(path), state.st_size, state.st_mtime_ns)


def values_digest(values: object) -> str:
    """SHA-256 of plain values as JSON, hexadecimal."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _digest(path: str, _size: int, _modified: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
