"""Output of a trainer: one report an epoch, or the divergence that ended it."""

from __future__ import annotations

from dataclasses import dataclass

from dynaloss.errors import DynalossError


class Diverged(DynalossError):  # noqa: N818 - an outcome, not a mistake
    """Training is no longer finite; the state of the epoch before is the last good one.

    Attributes:
        epoch: Epoch, counted from 1.
        batch: Batch in the epoch, counted from 1; the pass over the metadata continues the count
            of the training batches.
        what: What is not finite.
    """

    def __init__(self, epoch: int, batch: int, what: str = "the training loss") -> None:
        # The arguments as they are: pickling calls the class with them again.
        super().__init__(epoch, batch, what)
        self.epoch = epoch
        self.batch = batch
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} is not finite in epoch {self.epoch}, batch {self.batch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """Results of an epoch.

    Attributes:
        epoch: Counted from 1.
        metrics: Finite or NaN numbers by name, such as `test/accuracy`; a metric that has no
            value in this epoch (the corrector's, without one) is absent.
    """

    epoch: int
    metrics: dict[str, float]
