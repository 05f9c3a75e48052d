"""A trial's last state on disk, from which a later launch resumes."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynaloss.lazy import torch


class CheckpointFile:
    """The checkpoint of one trial: one file, replaced as a whole, or none.

    Args:
        folder: Folder of the study's checkpoints, on storage that every node sees.
        key: Key of the trial.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.pt"

    def write(self, state: Mapping[str, Any]) -> None:
        """Replaces the file; a kill in between leaves the former one whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(f".{os.getpid()}.part")
        torch.save(dict(state), unfinished)
        unfinished.replace(self.path)

    @staticmethod
    def size_of(state: Mapping[str, Any]) -> int:
        """Bytes of the file that `write` would make."""
        content = io.BytesIO()
        torch.save(dict(state), content)
        return content.tell()

    def read(self) -> dict[str, Any] | None:
        """Returns the state, or None where there is no checkpoint."""
        if not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, weights_only=True, map_location="cpu")
        return state

    def remove(self) -> None:
        """Removes the file, if there is one."""
        self.path.unlink(missing_ok=True)
