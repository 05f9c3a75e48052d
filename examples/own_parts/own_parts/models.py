"""A classifier with a setting of its own."""

from __future__ import annotations

import math

from pydantic import Field
from torch import nn

from dynaloss.config import ModelConfig
from dynaloss.config.families import ModelKind


class HiddenConfig(ModelConfig):
    """Settings of the classifier; `name` is filled in."""

    width: int = Field(default=64, ge=1, description="Units of the hidden layer, at least 1.")


def build(
    settings: HiddenConfig, *, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """One hidden layer on the flattened image."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(input_shape), settings.width),
        nn.ReLU(),
        nn.Linear(settings.width, num_classes),
    )


HIDDEN = ModelKind(
    name="hidden",
    description="one hidden layer on the flattened image",
    settings=HiddenConfig,
    build=build,
)
