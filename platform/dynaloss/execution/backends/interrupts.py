"""SIGTERM, which a batch system sends, ends a run as Ctrl-C does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["sigterm_as_sigint"]


@contextmanager
def sigterm_as_sigint() -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl-C does: trials are stopped, and their state is kept."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
