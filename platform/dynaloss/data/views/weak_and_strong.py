"""The weak and the strong view of uint8 images, made in batches on the trial's device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.config.data import ViewsConfig
from dynaloss.data.sources.source import Source
from dynaloss.data.views.operations import cutout
from dynaloss.data.views.policies import augment


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """Turns uint8 images (N, channels, height, width) into normalised float images.

    Attributes:
        mean: Per channel, of images scaled to [0, 1], shape (1, channels, 1, 1).
        std: Likewise.
        config: How strong views are made; what is null in a study file is given.
    """

    mean: Tensor
    std: Tensor
    config: ViewsConfig

    @classmethod
    def of_source(
        cls, source: Source, device: torch.device, config: ViewsConfig | None = None
    ) -> Views:
        """The views that `config` asks for, with what the source has where it gives none."""
        chosen = config.model_dump(exclude_none=True) if config else {}
        own = {name: getattr(source, name) for name in ("crop_padding", "flip", "statistics")}
        settings = ViewsConfig(**own | chosen)
        deviation = source.std_of_images if settings.statistics == "images" else source.std
        mean, std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1)
            for values in (source.mean, deviation)
        )
        return cls(mean=mean, std=std, config=settings)

    def weak(self, images: Tensor) -> Tensor:
        """Normalises, and nothing else."""
        return (images.float() / 255 - self.mean) / self.std

    def strong(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Crops, mirrors, augments and cuts out at random, as configured; normalises.

        The order of the paper; a step that is off draws nothing.
        """
        if self.config.crop_padding:
            images = random_crop(images, self.config.crop_padding, generator)
        if self.config.flip:
            images = random_flip(images, generator)
        images = augment(images, self.config.augment, self.config.fill, generator)
        if self.config.cutout:
            images = cutout(images, self.config.cutout, self.config.fill, generator)
        return self.weak(images)


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shifts each image by up to `padding` pixels in both directions; zeros fill the gap.

    Equals padding by `padding` and cropping to the former size at a random place per image.
    """
    N, _, height, width = images.shape
    padded = F.pad(images, (padding, padding, padding, padding))
    shifts = torch.randint(2 * padding + 1, (2, N, 1), generator=generator, device=images.device)
    rows = shifts[0] + torch.arange(height, device=images.device)
    columns = shifts[1] + torch.arange(width, device=images.device)
    samples = torch.arange(N, device=images.device)
    cropped = padded[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image left to right with probability 1/2."""
    flipped = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(flipped.view(-1, 1, 1, 1), images.flip(3), images)
