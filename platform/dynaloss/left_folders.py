"""Temporary folders that name their process, so that those of a killed one can be removed."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path


def own_folder(prefix: str, parent: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder of this process; removes those that dead ones have left beside it.

    Args:
        prefix: Begin of the name, which says what it is for.
        parent: Where to make it; by default where the system keeps temporary files.
    """
    parent = parent or Path(tempfile.gettempdir())
    # On shared storage a process of another machine may have the number of one that is gone.
    prefix = f"{prefix}{socket.gethostname()}-"
    for path in parent.glob(f"{prefix}*"):
        _remove_of_dead(path, path.name.removeprefix(prefix).partition("-")[0])
    return tempfile.TemporaryDirectory(
        prefix=f"{prefix}{os.getpid()}-", dir=parent, ignore_cleanup_errors=True
    )


def _remove_of_dead(path: Path, number: str) -> None:
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        shutil.rmtree(path, ignore_errors=True)
    except (ValueError, OSError):  # somebody else's
        return
