"""The events of a search in order: one line of JSON each, appended and flushed.

Decisions follow from the order of reports, which no other store keeps. A line is handed to the
operating system before the event has any effect, so that a killed launch can be replayed; a line
that a kill cut short is dropped, as if its event had not happened.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dynaloss.errors import InputError


class Journal:
    """The journal of one search; a context manager while it is written.

    Args:
        path: The file; created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)  # drops an unfinished line

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, event: str, **content: Any) -> None:  # noqa: ANN401 - any JSON
        """Appends an event."""
        content = {"event": event, **content}
        self._file.write(
            json.dumps(content | {"crc32": _checksum(content)}, default=_plain) + "\n"
        )
        self._file.flush()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yields every event so far, in order."""
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if (event := _event(line)) is None:
                    raise InputError(
                        f"{self.path}:{number}: the journal of the search is damaged; "
                        "give the study another name, or remove its folder to start again"
                    )
                yield event

    def claim(self, frozen: Mapping[str, str]) -> None:
        """Records what must not change between launches, or compares it with the record.

        Raises:
            InputError: If a part of the study file differs from the launch before.
        """
        earlier = next(self.read(), None)
        if earlier is None:
            self.write("plan", frozen=dict(frozen))
            return
        changed = [
            name for name, digest in frozen.items() if earlier["frozen"].get(name) != digest
        ]
        if changed:
            raise InputError(
                f"the search has begun with another {' and '.join(changed)}: "
                "decisions could not be repeated. Give the study another name, or change back; "
                "`search.trials`, `search.race`, conditions, arms and `confirm` may change"
            )


def _event(line: str) -> dict[str, Any] | None:
    """What a line holds; None where it is not as it was written: no flipped bit may decide."""
    try:
        event: dict[str, Any] = json.loads(line)
        return event if event.pop("crc32") == _checksum(event) else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _checksum(event: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(event, default=_plain).encode())


def _plain(value: object) -> object:
    return getattr(value, "tolist", value.__str__)()
