"""A trial's last states on disk, from which a later launch resumes."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from dynaloss.lazy import torch


class CheckpointFile:
    """The checkpoint of one trial and the one before it, each replaced as a whole, or none.

    A checkpoint whose content is not what was written is never used: torch writes a checksum of
    each part, but does not compare it.

    Args:
        folder: Folder of the study's checkpoints, on storage that every node sees.
        key: Key of the trial.
        most_bytes: What all checkpoints in the folder may take; None for no limit.
    """

    def __init__(self, folder: Path, key: str, most_bytes: float | None = None) -> None:
        self._most_bytes = most_bytes
        self.path = folder / f"{key}.pt"
        self.before = folder / f"{key}.before.pt"

    def write(self, state: Mapping[str, Any]) -> bool:
        """Replaces the file; a kill or a loss of power in between leaves one whole.

        Returns False, and leaves the files as they are, where there is no room for another.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(f".{os.getpid()}.part")
        with unfinished.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        free = self._free_bytes() - unfinished.stat().st_size
        if free < 0:
            unfinished.unlink()
            return False
        if self.path.exists() and self.path.stat().st_size <= free:
            self.path.replace(self.before)
        else:
            self.before.unlink(missing_ok=True)
        unfinished.replace(self.path)
        return True

    def _free_bytes(self) -> float:
        """What the checkpoints of the other trials leave."""
        if self._most_bytes is None:
            return math.inf
        own = {self.path, self.before}
        sizes = [path.stat().st_size for path in self.path.parent.glob("*.pt") if path not in own]
        return self._most_bytes - sum(sizes)

    @staticmethod
    def size_of(state: Mapping[str, Any]) -> int:
        """Bytes of the file that `write` would make."""
        content = io.BytesIO()
        torch.save(dict(state), content)
        return content.tell()

    def read(self) -> tuple[dict[str, Any] | None, list[Path]]:
        """The last whole state, or None, and the damaged files, which are set aside."""
        damaged: list[Path] = []
        for path in (self.path, self.before):
            if not path.exists():
                continue
            try:
                return _read_whole(path), damaged
            except OSError:  # of the storage, not of the file
                raise
            except Exception:  # a damaged file can raise anything
                damaged.append(path.replace(path.with_suffix(".damaged")))
        return None, damaged

    def remove(self) -> None:
        """Removes the files, damaged and unfinished ones too, if there are any."""
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            path.unlink(missing_ok=True)


def without_use(folder: Path, ended: Container[str]) -> list[Path]:
    """Files of trials that have ended, by their keys, and those that a kill left unfinished.

    Files of other users are left out. The process of a trial that is stopped saves its state,
    which may come after the end.
    """
    files = sorted(folder.glob("*")) if folder.is_dir() else []
    return [
        path
        for path in files
        if (path.name.partition(".")[0] in ended or path.suffix == ".part")
        and path.stat().st_uid == os.getuid()
    ]


def _read_whole(path: Path) -> dict[str, Any]:
    """Reads a file of `write`; raises an error of any kind if it is not as it was written."""
    with zipfile.ZipFile(path) as parts:
        if (name := parts.testzip()) is not None:
            raise ValueError(f"{name} does not have its checksum")
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state
