"""What the splits of a role have in common: labels, and views made in batches on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from dynaloss.data.splits import LabelledImages
from dynaloss.data.views import Views

__all__ = ["RoleSplit"]


class RoleSplit:
    """Labels of one role on the trial's device, copied; see `dynaloss.learning.batches.Split`.

    Args:
        samples: Images and labels in host memory.
        views: Makes the weak and the strong view.
        device: Where the labels live and the batches go.
    """

    def __init__(self, samples: LabelledImages, views: Views, device: torch.device) -> None:
        self._observed = torch.tensor(samples.observed, device=device)
        self._true = torch.tensor(samples.true, device=device)
        self._views = views
        self._device = device

    @property
    def observed_labels(self) -> Tensor:
        """Labels that training sees, int64, shape (N,)."""
        return self._observed

    @property
    def true_labels(self) -> Tensor:
        """Labels without noise, int64, shape (N,)."""
        return self._true

    def _strong(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None:
            raise ValueError("`generator` must be given for the strong view.")
        return self._views.strong(images, generator)
