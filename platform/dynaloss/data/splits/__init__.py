"""The roles of a trial's samples and the splits that hold them."""

from __future__ import annotations

import torch

from dynaloss.data.sources.image_files import RESIDENT_BYTES, ImageFiles
from dynaloss.data.splits.batched import ResidentSplit
from dynaloss.data.splits.roles import LabelledImages, TrialSplits, check_bias, make_splits
from dynaloss.data.views.weak_and_strong import Views
from dynaloss.learning.batches import Split

__all__ = ["LabelledImages", "TrialSplits", "check_bias", "make_splits", "open_split"]


def open_split(
    samples: LabelledImages, views: Views, device: torch.device, memory: str = "auto"
) -> Split:
    """The samples of one role where they fit: on the device, in host memory, or in their files.

    See `SourceSettings` for `memory`.
    """
    if isinstance(samples.images, ImageFiles):
        # Imports torchvision, which takes a second.
        from dynaloss.data.splits.streamed import StreamedSplit

        return StreamedSplit(samples, views, device)
    large = samples.images.nbytes > RESIDENT_BYTES
    on_host = memory == "stream" or (memory == "auto" and large)
    return ResidentSplit(samples, views, device, on_host=on_host)
