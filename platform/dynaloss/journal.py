"""Events in order: one line of JSON each, appended and flushed.

A line is handed to the operating system before the event has any effect, so that a killed launch
can be replayed; a line that a kill cut short is dropped, as if its event had not happened.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dynaloss.errors import InputError


class Journal:
    """A journal; a context manager while it is written.

    Args:
        path: The file; created if it does not exist.
        remedy: What to do where it is damaged, for the error.
    """

    def __init__(self, path: Path, remedy: str = "") -> None:
        self.path = path
        self._remedy = remedy
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._file = self.path.open("a", encoding="utf-8")
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))  # drops an unfinished line
        # Read only where the journal is whole, and then the last line's.
        self._checksum = _last_checksum(whole)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def write(self, event: str, **content: Any) -> None:  # noqa: ANN401 - any JSON
        """Appends an event."""
        content = {"event": event, **content}
        self._checksum = _checksum(content, self._checksum)
        line = json.dumps(content | {"crc32": self._checksum}, default=_plain)
        self._file.write(f"{line}\n")
        self._file.flush()

    def sync(self) -> None:
        """Returns when what was written would outlive a loss of power."""
        os.fsync(self._file.fileno())

    def replace(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Replaces the content, as a whole or not at all."""
        unfinished = self.path.with_suffix(f".{os.getpid()}.part")
        unfinished.unlink(missing_ok=True)
        with Journal(unfinished) as journal:
            for event in events:
                journal.write(**event)
        self._file.close()
        unfinished.replace(self.path)
        self._open()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yields every event so far, in order."""
        return read_journal(self.path, self._remedy)


def read_journal(path: Path, remedy: str = "") -> Iterator[dict[str, Any]]:
    """Yields every event in order, of a journal that another process may be writing.

    Raises:
        InputError: At a line that is not as it was written; an unfinished last one is left out.
    """
    checksum = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith("\n"):
                return
            event, checksum = _event(line, checksum)
            if event is None:
                text = f"{path}:{number}: the journal is damaged"
                raise InputError(f"{text}; {remedy}" if remedy else text)
            yield event


def _event(line: str, before: int) -> tuple[dict[str, Any] | None, int]:
    """What a line holds, and its checksum; None where it is not as it was written.

    The checksum goes on from that of the line before: neither a bit that flips nor a line that is
    lost, repeated or moved may decide on a trial.
    """
    try:
        event: dict[str, Any] = json.loads(line)
        checksum = event.pop("crc32")
        return (event if checksum == _checksum(event, before) else None), checksum
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None, 0


def _checksum(event: Mapping[str, Any], before: int) -> int:
    return zlib.crc32(json.dumps(event, default=_plain).encode(), before)


def _last_checksum(lines: bytes) -> int:
    try:
        return int(json.loads(lines.splitlines()[-1])["crc32"])
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0


def _plain(value: object) -> object:
    return getattr(value, "tolist", value.__str__)()
