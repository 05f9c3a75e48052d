"""Splits as the trainer needs them, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from dynaloss.config.trial import TrialConfig
from dynaloss.errors import InputError


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
    """The samples of one role (train, validation, test).

    Attributes:
        observed_labels: Labels that training sees, int64, shape (N,), on the trial's device.
        true_labels: Labels without noise, for diagnosis only, likewise.
    """

    observed_labels: Tensor
    true_labels: Tensor

    def batches(
        self,
        indices: Sequence[Tensor],
        *,
        weak: bool = False,
        strong: bool = False,
        generator: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        """Yields a batch per int64 tensor of positions, with the views that are asked for.

        The weak view is normalised only; the strong one is augmented, which needs a random stream.
        """


@dataclass(frozen=True, slots=True)
class TrainingBatches:
    """Batches of a training set in random order, with augmented views.

    Attributes:
        train: The training set.
        metadata_labels: Labels of the whole set in the outer loss, int64, shape (N,).
        config: Sizes of the batches.
        generators: Random streams `batch_order`, `metadata_order` and `augmentation`.
    """

    train: Split
    metadata_labels: Tensor
    config: TrialConfig
    generators: Mapping[str, torch.Generator]

    def of(self, indices: Tensor, *, weak: bool) -> Iterator[Batch]:
        """Yields every sample of `indices` once, in a new order."""
        order = self._shuffled(indices, "batch_order")
        return self._augmented(order, self.config.schedule.batch_size, weak=weak)

    def count(self, indices: Tensor) -> int:
        """Number of batches that `of` yields."""
        return -(-len(indices) // self.config.schedule.batch_size)

    def metadata(self, indices: Tensor) -> Iterator[Batch]:
        """Yields every metadata sample once, in a new order, with its label in the outer loss."""
        order = self._shuffled(indices, "metadata_order")
        for batch in self._augmented(order, self.config.meta_batch_size, weak=False):
            yield replace(batch, labels=self.metadata_labels[batch.indices])

    def endless_metadata(self, indices: Tensor) -> Iterator[Batch]:
        """Repeats `metadata` without end."""
        while True:
            yield from self.metadata(indices)

    def _shuffled(self, indices: Tensor, stream: str) -> Tensor:
        generator = self.generators[stream]
        order = torch.randperm(len(indices), generator=generator, device=generator.device)
        return indices[order.to(indices.device)]

    def _augmented(self, order: Tensor, batch_size: int, *, weak: bool) -> Iterator[Batch]:
        generator = self.generators["augmentation"]
        cut = equal_batches if self.config.schedule.equal_batches else full_batches
        batches = cut(order, batch_size)
        return self.train.batches(batches, weak=weak, strong=True, generator=generator)


_Item = TypeVar("_Item")


def endless(batches: Iterable[_Item]) -> Iterator[_Item]:
    """Repeats batches without end; a `DataLoader` that shuffles gives each pass its own order.

    Raises:
        InputError: If there is no batch.

    Examples:
        >>> from dynaloss.learning import endless
        >>> batches = endless([1, 2])
        >>> [next(batches) for _ in range(5)]
        [1, 2, 1, 2, 1]
    """
    is_empty = True
    while True:
        for batch in batches:
            is_empty = False
            yield batch
        if is_empty:
            raise InputError("`batches` must have at least one batch.")


def equal_batches(indices: Tensor, batch_size: int) -> list[Tensor]:
    """Cuts `indices` into the fewest batches of at most `batch_size`, of nearly equal size.

    Nearly equal sizes leave no rest batch of a few samples, for which batch norm's statistics
    would mean nothing.
    """
    if not len(indices):
        return []
    return list(torch.tensor_split(indices, -(-len(indices) // batch_size)))


def full_batches(indices: Tensor, batch_size: int) -> list[Tensor]:
    """Cuts `indices` into batches of `batch_size`, and a last one of what is left, if any.

    A single one that is left joins the batch before it, other than in the authors' code: batch
    norm cannot train on it where it sees one value a channel.
    """
    batches = list(torch.split(indices, batch_size)) if len(indices) else []
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
