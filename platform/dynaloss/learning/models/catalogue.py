"""The classifiers of our own by name; `torchvision/` and a name gives one of torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from dynaloss.config.families import MODELS, ModelKind

if TYPE_CHECKING:
    from torch import nn

_RESNET = "He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016"
_PREACT = "He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016"


def _in(module: str, name: str, **options: int) -> Callable[[], Callable[..., nn.Module]]:
    """Imports a constructor when called: study files are checked without torch."""

    def constructor() -> Callable[..., nn.Module]:
        found = getattr(import_module(f"dynaloss.learning.models.{module}"), name)
        return partial(found, **options)

    return constructor


for _kind in (
    ModelKind(
        name="mlp",
        description="two hidden layers on the flattened image",
        constructor=_in("small", "MLP"),
    ),
    ModelKind(
        name="small_cnn",
        description="a few convolutions, for small images",
        constructor=_in("small", "SmallCNN"),
    ),
    ModelKind(
        name="resnet8",
        description="the paper's network for CIFAR with 8 layers, for trials on a CPU",
        source=_RESNET,
        constructor=_in("resnet", "CifarResNet", depth=8),
    ),
    ModelKind(
        name="resnet20",
        description="the paper's network for CIFAR with 20 layers",
        source=_RESNET,
        constructor=_in("resnet", "CifarResNet", depth=20),
    ),
    ModelKind(
        name="resnet32",
        description="the paper's network for CIFAR, with option-A shortcuts",
        source=_RESNET,
        constructor=_in("resnet", "CifarResNet", depth=32),
    ),
    ModelKind(
        name="preact_resnet18",
        description="pre-activation ResNet-18 for small images, 11.2 million weights",
        source=_PREACT,
        constructor=_in("preact", "PreActResNet18"),
    ),
):
    MODELS.add(_kind)
