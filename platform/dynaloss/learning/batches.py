"""What the trainer needs of its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some samples of a split, on the trial's device.

    Attributes:
        indices: Positions in the split, int64, shape (N,).
        labels: Observed labels, int64, shape (N,).
        weak: Weak view, float, first dimension N; None where it was not asked for.
        strong: Strong view, likewise.
    """

    indices: Tensor
    labels: Tensor
    weak: Tensor | None
    strong: Tensor | None


class Split(Protocol):
    """The samples of one role (train, validation, test)."""

    @property
    def observed_labels(self) -> Tensor:
        """Labels that training sees, int64, shape (N,), on the trial's device."""

    @property
    def true_labels(self) -> Tensor:
        """Labels without noise, for diagnosis only, int64, shape (N,)."""

    def batches(
        self,
        indices: Sequence[Tensor],
        *,
        weak: bool = False,
        strong: bool = False,
        generator: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        """Yields a batch per tensor of indices, with the views that are asked for.

        Args:
            indices: Positions in the split, one int64 tensor per batch.
            weak: Whether to make the weak view (normalise only).
            strong: Whether to make the strong view (augmented).
            generator: Random stream of the augmentation; needed for the strong view.
        """


def equal_batches(indices: Tensor, batch_size: int) -> list[Tensor]:
    """Cuts `indices` into the fewest batches of at most `batch_size`, of nearly equal size.

    Nearly equal sizes leave no rest batch of a few samples, for which batch norm's statistics
    would mean nothing.
    """
    if not len(indices):
        return []
    return list(torch.tensor_split(indices, -(-len(indices) // batch_size)))
