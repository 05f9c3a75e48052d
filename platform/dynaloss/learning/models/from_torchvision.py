"""Classifiers of torchvision by name, without pretrained weights."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import nn

from dynaloss.config.trial import TORCHVISION
from dynaloss.errors import InputError

# Without their auxiliary heads, whose logits the trainer does not use.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


def build_torchvision_model(
    name: str, *, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """Builds a classifier with a head for the given classes.

    Args:
        name: Name after `torchvision/`, such as `resnet50`.
        input_shape: Shape (channels, height, width) of an image; three channels.
        num_classes: Number of classes.

    Raises:
        InputError: If the images have another number of channels.
    """
    channels, height, _ = input_shape
    if channels != 3:
        raise InputError(
            f"[model.name] '{TORCHVISION}{name}' accepts images of 3 channels, but they have "
            f"{channels}: choose another model."
        )
    options: dict[str, Any] = {"weights": None, "num_classes": num_classes}
    if name.startswith("vit_"):
        options["image_size"] = height
    if name in _WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False, "init_weights": False}
    model: nn.Module = torchvision.models.get_model(name, **options)
    return model
