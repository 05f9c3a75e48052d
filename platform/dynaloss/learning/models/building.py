"""Model names and their constructors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from dynaloss.learning.models.from_torchvision import PREFIX, build_torchvision_model
from dynaloss.learning.models.preact import PreActResNet18
from dynaloss.learning.models.resnet import CifarResNet
from dynaloss.learning.models.small import MLP, SmallCNN
from dynaloss.learning.streams import default_generator_seeded

__all__ = ["MODELS", "build_model"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "small_cnn": SmallCNN,
    "resnet8": partial(CifarResNet, depth=8),
    "resnet20": partial(CifarResNet, depth=20),
    "resnet32": partial(CifarResNet, depth=32),
    "preact_resnet18": PreActResNet18,
}


def build_model(
    name: str, *, input_shape: tuple[int, int, int], num_classes: int, seed: int
) -> nn.Module:
    """Builds a classifier with its default initialisation, drawn from `seed` alone.

    Its weights lie in memory with the channels last, in which convolutions and batch
    normalisations are faster, on CPU as on CUDA.

    Args:
        name: A key of `MODELS`, or `torchvision/` and the name of one of its classifiers.
        input_shape: Shape (channels, height, width) of an image.
        num_classes: Number of classes.
        seed: Seed of the initial weights; the global random state stays as it is.

    Raises:
        InputError: If a torchvision model cannot take images of so many channels.
    """
    build: Callable[..., nn.Module]
    if name.startswith(PREFIX):
        build = partial(build_torchvision_model, name.removeprefix(PREFIX))
    else:
        build = MODELS[name]
    with default_generator_seeded(seed):
        model = build(input_shape=input_shape, num_classes=num_classes)
    return model.to(memory_format=torch.channels_last)
