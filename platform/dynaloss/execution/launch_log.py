"""Log file of a launch, for when something goes wrong."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

LOG: Final = logging.getLogger("dynaloss.launch")
"""What the terminal shows, at the level INFO, and more, at DEBUG: starts, epochs, Ray's lines."""

_KEPT: Final = 20
_MOST_BYTES: Final = 20 * 2**20
_FORMAT: Final = "%(asctime)s %(message)s"


@contextmanager
def launch_log(folder: Path) -> Iterator[None]:
    """Writes what is logged in this block to a file of its own in `logs` below the folder.

    The folder is made when there is something to write. The last 20 files stay; a log of over
    20 MiB goes on in a new file, and its last two stay.
    """
    file = _LogFile(folder / "logs" / f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-{os.getpid()}.log")
    before = LOG.level, LOG.propagate
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False
    LOG.addHandler(file)
    try:
        yield
    finally:
        LOG.removeHandler(file)
        with suppress(OSError):
            file.close()
        LOG.setLevel(before[0])
        LOG.propagate = before[1]


class _LogFile(RotatingFileHandler):
    """Opened with its first line, and silent where it cannot be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_MOST_BYTES, backupCount=1, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter(_FORMAT))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of the base class
        """Leaves the terminal alone: of a full disk, the launch itself will inform."""

    def _open(self):  # type: ignore[no-untyped-def] # noqa: ANN202 - of the base class
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(path.parent.glob("*.log*"))[: -_KEPT + 1]:
            old.unlink(missing_ok=True)
        stream = super()._open()
        stream.write(f"dynaloss {importlib.metadata.version('dynaloss')}, process {os.getpid()}\n")
        return stream
