"""Splits that make their views in batches on the device; the images of one in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dynaloss.data.splits.roles import LabelledImages
from dynaloss.data.views.weak_and_strong import Views
from dynaloss.learning.batches import Batch

Pixels = tuple[Tensor | None, Tensor | None]
"""uint8 images of a batch for the weak and for the strong view; None where not requested."""


class BatchedSplit:
    """Labels of one role on the trial's device, copied; see `dynaloss.learning.batches.Split`."""

    def __init__(self, samples: LabelledImages, views: Views, device: torch.device) -> None:
        self.observed_labels = torch.tensor(samples.observed, device=device)
        self.true_labels = torch.tensor(samples.true, device=device)
        self._views = views
        self._device = device

    def batches(
        self,
        indices: Sequence[Tensor],
        *,
        weak: bool = False,
        strong: bool = False,
        generator: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        """See `dynaloss.learning.batches.Split`."""
        if strong and generator is None:
            raise ValueError("`generator` must be given for the strong view.")
        stream = generator if strong else None
        pixels = self._pixels(indices, weak, stream)
        for chosen, (for_weak, for_strong) in zip(indices, pixels, strict=True):
            on_device = chosen.to(self._device)
            yield Batch(
                indices=on_device,
                labels=self.observed_labels[on_device],
                weak=None if for_weak is None else self._views.weak(for_weak.to(self._device)),
                strong=None
                if for_strong is None or stream is None
                else self._views.strong(for_strong.to(self._device), stream),
            )

    def _pixels(
        self, indices: Sequence[Tensor], weak: bool, generator: torch.Generator | None
    ) -> Iterator[Pixels]:
        """Yields the images of each batch; those for the strong view if there is a generator."""
        raise NotImplementedError


class ResidentSplit(BatchedSplit):
    """The samples of one role in memory, copied.

    With `on_host` the images stay in host memory, and go to the device batch by batch.
    """

    def __init__(
        self, samples: LabelledImages, views: Views, device: torch.device, *, on_host: bool = False
    ) -> None:
        super().__init__(samples, views, device)
        self._images = torch.tensor(samples.images, device="cpu" if on_host else device)

    def _pixels(
        self, indices: Sequence[Tensor], weak: bool, generator: torch.Generator | None
    ) -> Iterator[Pixels]:
        for chosen in indices:
            images = self._images[chosen.to(self._images.device)].to(self._device)
            yield images if weak else None, images if generator is not None else None
