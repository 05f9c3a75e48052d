"""Small classifiers for small images."""

from __future__ import annotations

import math

from torch import Tensor, nn

_NUM_UNITS = 128


class MLP(nn.Sequential):
    """Two hidden layers of 128 units with batch norm; images are (channels, height, width)."""

    def __init__(self, *, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(
            nn.Flatten(),
            *_dense(math.prod(input_shape), _NUM_UNITS),
            *_dense(_NUM_UNITS, _NUM_UNITS),
            nn.Linear(_NUM_UNITS, num_classes),
        )


class SmallCNN(nn.Module):
    """Three convolutions with batch norm, then global average pooling.

    Images have a shape (channels, height, width) with sides of at least 4; the first convolution
    has 16 channels, the others have twice as many.
    """

    def __init__(self, *, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(input_shape[0], 16),
            *_convolution(16, 32, stride=2),
            *_convolution(32, 32),
        )
        self.head = nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (N, C) of images (N, channels, height, width)."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


def _dense(num_inputs: int, num_outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(num_inputs, num_outputs, bias=False), nn.BatchNorm1d(num_outputs), nn.ReLU()


def _convolution(num_inputs: int, num_outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    layer = nn.Conv2d(num_inputs, num_outputs, 3, stride=stride, padding=1, bias=False)
    return layer, nn.BatchNorm2d(num_outputs), nn.ReLU()
