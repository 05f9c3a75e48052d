"""What a backend is given, and what it promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.data.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Trials to run.

    Attributes:
        orders: Each trial with the name of its data source; the next one is taken when a slot is
            free.
        sources: Data by that name.
        most: Upper bound on the number of orders.
    """

    orders: Iterator[tuple[TrialOrder, str]]
    sources: Mapping[str, Source]
    most: int


class Listener(Protocol):
    """Receives everything that happens to the trials, and decides whether they continue."""

    def take(self, key: str, result: StepResult) -> bool:
        """Receives the result of a step of a trial; returns whether the trial continues."""

    def end(self, key: str, outcome: Outcome, message: str) -> None:
        """Receives the end of a trial that could not report it itself."""


class Backend(Protocol):
    """Runs trials."""

    @property
    def slots(self) -> int:
        """Number of trials that run at the same time."""

    def run(self, work: Work, listener: Listener) -> None:
        """Runs trials until no order is left, or SIGINT or SIGTERM arrives.

        Trials that are running then keep their state in a checkpoint.
        """
