"""A split that lives in memory as uint8 and is augmented on the trial's device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dynaloss.data.role_split import RoleSplit
from dynaloss.data.splits import LabelledImages
from dynaloss.data.views import Views
from dynaloss.learning.batches import Batch

__all__ = ["ResidentSplit"]


class ResidentSplit(RoleSplit):
    """The samples of one role in memory; see `dynaloss.learning.batches.Split`.

    Args:
        samples: Images and labels in host memory; copied.
        views: Makes the weak and the strong view.
        device: Where the tensors live.
        on_host: Whether the images stay in host memory, and go to the device batch by batch.
    """

    def __init__(
        self,
        samples: LabelledImages,
        views: Views,
        device: torch.device,
        *,
        on_host: bool = False,
    ) -> None:
        super().__init__(samples, views, device)
        self._images = torch.tensor(samples.images, device="cpu" if on_host else device)

    def batches(
        self,
        indices: Sequence[Tensor],
        *,
        weak: bool = False,
        strong: bool = False,
        generator: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        """Yields a batch per tensor of indices, with the views that are asked for."""
        for chosen in indices:
            on_device = chosen.to(self._device)
            images = self._images[chosen.to(self._images.device)].to(self._device)
            yield Batch(
                indices=on_device,
                labels=self._observed[on_device],
                weak=self._views.weak(images) if weak else None,
                strong=None if not strong else self._strong(images, generator),
            )
