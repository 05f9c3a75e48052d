"""Model names and their constructors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from dynaloss.learning.models.resnet import CifarResNet
from dynaloss.learning.models.small import MLP, SmallCNN
from dynaloss.learning.streams import default_generator_seeded

__all__ = ["MODELS", "build_model"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "small_cnn": SmallCNN,
    "resnet32": partial(CifarResNet, depth=32),
}


def build_model(
    name: str, *, input_shape: tuple[int, int, int], num_classes: int, seed: int
) -> nn.Module:
    """Builds a classifier with PyTorch's default initialisation, drawn from `seed` alone.

    Args:
        name: A key of `MODELS`.
        input_shape: Shape (channels, height, width) of an image.
        num_classes: Number of classes.
        seed: Seed of the initial weights; the global random state stays as it is.
    """
    with default_generator_seeded(seed):
        return MODELS[name](input_shape=input_shape, num_classes=num_classes)
