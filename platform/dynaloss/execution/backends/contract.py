"""What a backend is given, and what it promises: a signal ends a run in order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.data.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Trials to run.

    Attributes:
        orders: The trials; the next one is taken when a slot is free. None means that it follows
            from a running one.
        sources: Data by the name that the orders give.
        retries: How often a trial is tried again whose process is lost, or whose error may pass.
    """

    orders: Iterator[TrialOrder | None]
    sources: Mapping[str, Source]
    retries: int = 0


def note_on_retry(message: str) -> str:
    """What to say of a trial that is tried again."""
    reason = (message.strip().splitlines() or ["unknown error"])[-1]
    return f"failed ({reason}); it goes on from its last checkpoint"


class Listener(Protocol):
    """Receives everything that happens to the trials, and decides whether they continue."""

    def take(self, key: str, result: StepResult) -> bool:
        """Receives the result of a step of a trial; returns whether the trial continues."""

    def end(self, key: str, outcome: Outcome, message: str) -> None:
        """Receives the end of a trial that could not report it itself."""

    def note(self, key: str | None, text: str) -> None:
        """Receives a sentence for the user, on a trial or on the run."""


class Backend(Protocol):
    """Runs trials."""

    @property
    def slots(self) -> int:
        """Number of trials that run at the same time."""

    def run(self, work: Work, listener: Listener) -> None:
        """Runs trials until no order is left, or SIGINT or SIGTERM arrives.

        Trials that are running then keep their state in a checkpoint.
        """


@contextmanager
def sigterm_as_sigint() -> Iterator[None]:
    """Makes SIGTERM, which a batch system sends, end the block as Ctrl-C does.

    Only the main thread can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if callable(signal.getsignal(signal.SIGINT)):
            os.kill(os.getpid(), signal.SIGINT)  # by the handler in force
        else:  # ignored, as it is for background jobs of a shell script
            raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
