"""A split that lives in memory as uint8 and is augmented on the trial's device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dynaloss.data.splits.role_split import Pixels, RoleSplit
from dynaloss.data.splits.roles import LabelledImages
from dynaloss.data.views.weak_and_strong import Views

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

    def _pixels(
        self, indices: Sequence[Tensor], weak: bool, generator: torch.Generator | None
    ) -> Iterator[Pixels]:
        for chosen in indices:
            images = self._images[chosen.to(self._images.device)].to(self._device)
            yield images if weak else None, images if generator is not None else None
