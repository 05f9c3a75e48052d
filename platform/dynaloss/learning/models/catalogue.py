"""The classifiers of our own by name; `torchvision/` and a name gives one of torchvision's."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from dynaloss.config.families import MODELS, ModelKind
from dynaloss.config.settings import rule_error
from dynaloss.lazy import Late

if TYPE_CHECKING:
    from torch import nn

_HOME = "dynaloss.learning.models"
TORCHVISION = "torchvision/"


def _of_shape(module: str, name: str, **options: int) -> Callable[..., nn.Module]:
    """Builds a classifier that has no settings of its own."""
    build = Late(f"{_HOME}.{module}", name, **options)
    return lambda settings, **shape: build(**shape)


def _of_torchvision(name: str) -> ModelKind:
    # By name at run time: study files are read without torch, but for those that ask for it.
    models = importlib.import_module("torchvision.models")
    known = [TORCHVISION + model for model in models.list_models(module=models)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else "see torchvision.models.list_models()"
        raise rule_error("must be the name of a classifier of torchvision", remedy)
    build = Late(f"{_HOME}.building", "torchvision_model")
    return ModelKind(name=name, description="a classifier of torchvision", build=build)


MODELS.add_catalogue(
    TORCHVISION, "any classifier of torchvision, such as resnet50", _of_torchvision
)

MODELS.add(
    name="mlp",
    description="two hidden layers on the flattened image",
    build=_of_shape("small", "MLP"),
)
MODELS.add(
    name="small_cnn",
    description="a few convolutions, for small images",
    build=_of_shape("small", "SmallCNN"),
)
for _depth, _what in (
    (8, "the paper's network for CIFAR with 8 layers, for trials on a CPU"),
    (20, "the paper's network for CIFAR with 20 layers"),
    (32, "the paper's network for CIFAR, with option-A shortcuts"),
):
    MODELS.add(
        name=f"resnet{_depth}",
        description=_what,
        source="He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016",
        build=_of_shape("resnet", "CifarResNet", depth=_depth),
    )
MODELS.add(
    name="preact_resnet18",
    description="pre-activation ResNet-18 for small images, 11.2 million weights",
    source="He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016",
    build=_of_shape("resnet", "PreActResNet18"),
)
