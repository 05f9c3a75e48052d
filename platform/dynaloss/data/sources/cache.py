"""Decoded images, kept once per node and read through memory maps."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

# Raise this when decoding changes, so that older folders are not read.
_LAYOUT = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What a source keeps once it is decoded.

    Attributes:
        arrays: By name; memory maps once they come out of the cache.
        facts: Plain values for JSON.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def cached_decoding(digest: str, decode: Callable[[], Decoded]) -> Decoded:
    """What `decode` returns, computed once per node and content.

    Kept in `$DYNALOSS_CACHE`, or `~/.cache/dynaloss`. A folder appears whole or not at all; a
    second process waits for the first. The digest is that of all that the result depends on.
    """
    place = os.environ.get("DYNALOSS_CACHE") or "~/.cache/dynaloss"
    cache = Path(os.path.expanduser(place))  # noqa: PTH111 - a home may be unknown
    folder = cache / "decoded" / f"{_LAYOUT}-{digest[:32]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _write(folder, decode())
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    return Decoded(arrays=arrays, facts=json.loads((folder / "facts.json").read_text()))


def _write(folder: Path, decoded: Decoded) -> None:
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        for name, array in decoded.arrays.items():
            np.save(scratch / f"{name}.npy", array)
        (scratch / "facts.json").write_text(json.dumps(dict(decoded.facts)))
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
