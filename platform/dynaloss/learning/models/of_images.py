"""A classifier of images as they are stored."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OfImages(nn.Module):
    """Normalises images, then classifies them.

    Args:
        model: Takes normalised images (N, channels, height, width), gives logits (N, C).
        mean: Mean per channel of images scaled to [0, 1], shape (1, channels, 1, 1).
        std: What they are divided by, likewise.

    Examples:
        >>> import torch
        >>> from dynaloss.learning.models.of_images import OfImages
        >>> half = torch.full((1, 1, 1, 1), 0.5)
        >>> OfImages(torch.nn.Flatten(), half, half)(torch.tensor([[[[0, 255]]]]))
        tensor([[-1.,  1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of images (N, channels, height, width), uint8 from 0 to 255."""
        logits: Tensor = self.model((images.to(torch.float32) / 255 - self.mean) / self.std)
        return logits
