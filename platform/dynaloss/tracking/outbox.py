"""What a launch has to write to the tracking store: on disk, in order, until it is stored."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from dynaloss.errors import InputError
from dynaloss.journal import Journal
from dynaloss.tracking.client import StoreAwayError

_PATIENCE = 60.0


class Receiver(Protocol):
    """Writes records to the store."""

    def deliver(self, what: str, content: dict[str, Any]) -> None:
        """Writes a record, or queues it for `settle`; twice is as good as once."""

    def settle(self) -> None:
        """Returns when all that was delivered is stored."""

    def require(self) -> None:
        """Raises StoreAwayError while the store is still away."""


class Outbox:
    """Takes records at once, and writes them in a thread of its own; a context manager.

    Trials so never wait for the store. While a server is away, it is asked again every few
    seconds, and the records wait on disk. Any other error of the store is raised by the next
    `add`, by `flush` and by `close`; the records stay on disk for the next launch.

    Args:
        path: The file.
        receiver: Where the records go.
        interval: Seconds between two rounds of writing.

    Attributes:
        path: The file.
        damage: What was wrong with the file of an earlier launch; empty for nothing.
    """

    def __init__(self, path: Path, receiver: Receiver, *, interval: float = 2.0) -> None:
        self.path = path
        self._receiver = receiver
        self._interval = interval
        self._queue: deque[dict[str, Any]] = deque()
        self._unsettled = 0
        self.damage = ""
        self._journal = Journal(path)
        self._read_left()
        self._changed = threading.Condition()  # guards the fields below, the queue and the file
        self._away_since: float | None = None
        self._error: Exception | None = None
        self._hurry = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """Number of records on disk: those that the store may not have yet."""
        return self._unsettled + len(self._queue)

    @property
    def is_away(self) -> bool:
        """Whether the server did not answer when it was last asked."""
        return self._away_since is not None

    def deliver_left(self) -> int:
        """Writes what an earlier launch has left, if anything; returns the number of records.

        Raises:
            StoreError: If the store fails; the rest stays.
        """
        count = self.waiting
        self._round()
        return count

    def add(self, what: str, **content: Any) -> None:  # noqa: ANN401 - any JSON
        """Takes a record; returns at once.

        Raises:
            StoreError: If an earlier record could not be written; this one is kept all the same.
            RuntimeError: If the outbox is closed.
        """
        if self._closed:
            raise RuntimeError("The outbox is closed.")
        with self._changed:
            self._journal.write(what, **content)
            if self.is_away:
                self._journal.sync()
            self._queue.append({"event": what, **content})
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                self._thread.start()
        if self._error is not None:
            raise self._error

    def flush(self, patience: float | None = None) -> int:
        """Returns when all is stored, or the server has been away for so many seconds (60).

        The result is the number of records that wait.

        Raises:
            StoreError: If the store fails.
        """
        patience = _PATIENCE if patience is None else patience
        with self._changed:
            if self._thread is not None:
                self._hurry = True
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: (
                        self._error is not None
                        or not self.waiting
                        or self._seconds_away() > patience
                    )
                )
                self._hurry = False
        if self._error is not None:
            raise self._error
        return self.waiting

    def close(self) -> None:
        """Ends the thread and closes the file, which is removed if nothing waits."""
        if self._closed:
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._journal.close()
        if not self.waiting:
            self.path.unlink(missing_ok=True)

    def _seconds_away(self) -> float:
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def _read_left(self) -> None:
        """Takes what an earlier launch has left; a damaged file as far as it is whole."""
        try:
            for record in self._journal.read():
                self._queue.append(record)
        except InputError as error:
            aside = self.path.with_suffix(".damaged")
            self.damage = f"{error}; what follows is lost to the store, the file is now {aside}"
            self._journal.close()
            self.path.replace(aside)
            self._journal = Journal(self.path)
            self._journal.replace(self._queue)

    def _run(self) -> None:
        while not self._closed:
            try:
                if self.is_away:
                    self._receiver.require()
                self._round()
            except StoreAwayError:
                with self._changed:
                    self._away_since = self._away_since or time.monotonic()
                    self._journal.sync()
            except Exception as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._changed.notify_all()
                if self.is_away or not (self._closed or (self._hurry and self.waiting)):
                    self._changed.wait(self._interval)

    def _round(self) -> None:
        """Writes all records there are; then they leave the disk."""
        while self._queue:
            record = dict(self._queue[0])
            self._receiver.deliver(record.pop("event"), record)
            with self._changed:
                self._queue.popleft()
                self._unsettled += 1
        self._receiver.settle()
        with self._changed:
            self._away_since = None
            if self._unsettled:
                self._unsettled = 0
                self._journal.replace(self._queue)
