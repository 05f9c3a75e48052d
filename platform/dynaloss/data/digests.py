"""Digests of files by their content, and of plain values; loads without torch and numpy."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

_PART = 1 << 20


def file_digest(path: str | Path) -> str:
    """SHA-256 of the content of a file, hexadecimal; read again only where the file changed.

    Raises:
        OSError: If the file cannot be read.
    """
    return file_digests(path, ("sha256",))[0]


def file_digests(path: str | Path, algorithms: tuple[str, ...]) -> tuple[str, ...]:
    """Digests by these algorithms of hashlib, in one reading; see `file_digest`."""
    state = Path(path).stat()
    return _digests(str(path), algorithms, state.st_size, state.st_mtime_ns)


def values_digest(values: object) -> str:
    """SHA-256 of plain values as JSON, hexadecimal."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _digests(
    path: str, algorithms: tuple[str, ...], _size: int, _modified: int
) -> tuple[str, ...]:
    hashes = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    with Path(path).open("rb") as file:
        while part := file.read(_PART):
            for one in hashes:
                one.update(part)
    return tuple(one.hexdigest() for one in hashes)
