"""Builds classifiers by name, and checks them with shapes only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dynaloss.config.families import MODELS
from dynaloss.config.trial import ModelConfig
from dynaloss.errors import InputError
from dynaloss.learning.models.catalogue import TIMM, TORCHVISION
from dynaloss.learning.models.pretrained import fitting_weights
from dynaloss.learning.streams import default_generator_seeded

# Without their auxiliary heads, whose logits the trainer does not use.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


def build_model(
    settings: ModelConfig, *, input_shape: tuple[int, int, int], num_classes: int, seed: int
) -> nn.Module:
    """Builds a classifier with its default initialisation, drawn from `seed` only.

    Its weights lie in memory with the channels last, in which convolutions and batch
    normalisations are faster, on CPU as on CUDA.

    Args:
        settings: Name the classifier, and hold what it is built with.
        input_shape: Shape (channels, height, width) of an image.
        num_classes: Number of classes.
        seed: Seed of the initial weights; the global random state stays as it is.

    Raises:
        InputError: If a torchvision model does not accept images of that number of channels.
    """
    with default_generator_seeded(seed):
        model = MODELS[settings.name].build(
            settings, input_shape=input_shape, num_classes=num_classes
        )
    return model.to(memory_format=torch.channels_last)


def torchvision_model(
    settings: ModelConfig, *, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """One of torchvision's classifiers, with a head for the given classes.

    Raises:
        InputError: If it does not accept images of that number of channels.
    """
    name = settings.name.removeprefix(TORCHVISION)
    channels, height, _ = input_shape
    if channels != 3:
        raise InputError(
            f"[model.name] '{settings.name}' accepts images of 3 channels, but they have "
            f"{channels}: choose another model."
        )
    options: dict[str, Any] = {"weights": None, "num_classes": num_classes}
    if name.startswith("vit_"):
        options["image_size"] = height
    if name in _WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False, "init_weights": False}
    from torchvision import models  # takes a second, which other models need not wait

    model: nn.Module = models.get_model(name, **options)
    return model


def resnet10(*, input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """ResNet of one basic block per stage, of torchvision's parts.

    Source: Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019, on
    ImageNet-LT; the layers are those of He et al., CVPR 2016.
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    model: nn.Module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
    if input_shape[0] != 3:
        model.conv1 = nn.Conv2d(input_shape[0], 64, 7, stride=2, padding=3, bias=False)
    return model


def timm_model(
    settings: ModelConfig, *, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """One of timm's classifiers, not pretrained, for the given images and classes.

    Raises:
        InputError: If timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"[model.name] '{settings.name}' needs the package timm: `pip install timm`."
        ) from error
    name = settings.name.removeprefix(TIMM)
    channels, height, _ = input_shape
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels}
    published = timm.models.get_pretrained_cfg(name)
    if published is not None and published.fixed_input_size:
        options["img_size"] = height
    model: nn.Module = timm.create_model(name, **options)
    return model


def check_model(
    settings: ModelConfig, *, input_shape: tuple[int, int, int], num_classes: int
) -> None:
    """Runs a classifier on shapes only, and compares its file of weights.

    Raises:
        InputError: If the images do not fit the classifier, or the weights do not.
    """
    name = settings.name
    build = partial(
        build_model, settings, input_shape=input_shape, num_classes=num_classes, seed=0
    )
    try:
        model = _without_weights(build)
        with torch.no_grad():
            model.train()(torch.empty(2, *input_shape, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        _, height, width = input_shape
        raise InputError(
            f"[model.name] '{name}' does not accept images of {height} x {width} pixels "
            f"({str(error).splitlines()[0] if str(error) else 'wrong size'}): choose another "
            "model, or set data.image_size."
        ) from error
    if settings.pretrained_path is not None:
        fitting_weights(model, Path(settings.pretrained_path))


def _without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """A classifier on the meta device: shapes only."""
    try:
        with torch.device("meta"):
            return build()
    except NotImplementedError:  # RegNet computes its widths with tensors, which need values
        return build().to("meta")
