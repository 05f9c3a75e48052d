"""The classifiers of our own by name; `torchvision/NAME` and `timm/NAME` are those of others."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dynaloss.config.families import MODELS, ModelKind
from dynaloss.config.settings import rule_error
from dynaloss.lazy import Late

if TYPE_CHECKING:
    from torch import nn

_HOME = "dynaloss.learning.models"
TORCHVISION = "torchvision/"
TIMM = "timm/"


def _of_shape(module: str, name: str, **options: int) -> Callable[..., nn.Module]:
    """Builds a classifier that has no settings of its own."""
    build = Late(f"{_HOME}.{module}", name, **options)
    return lambda settings, **shape: build(**shape)


def _of_torchvision(name: str) -> ModelKind:
    return _of_library(name, TORCHVISION, _torchvision_names())


def _torchvision_names() -> list[str]:
    # By name at run time: study files are read without torch, but for those that ask for it.
    models: Any = importlib.import_module("torchvision.models")
    return list(models.list_models(module=models))


def _of_timm(name: str) -> ModelKind:
    return _of_library(name, TIMM, _timm_names())


def _timm_names() -> list[str]:
    # Without timm a study can be planned still; building the classifier asks for the package.
    return list(importlib.import_module("timm").list_models()) if find_spec("timm") else []


def _of_library(name: str, prefix: str, known: Sequence[str]) -> ModelKind:
    """The classifier of that name, which is checked where the library's own are known."""
    library = prefix.removesuffix("/")
    if known and name.removeprefix(prefix) not in known:
        near = difflib.get_close_matches(name, [prefix + own for own in known], n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"see {library}'s list_models()"
        raise rule_error(f"must be the name of a classifier of {library}", remedy)
    build = Late(f"{_HOME}.building", f"{library}_model")
    return ModelKind(name=name, description=f"a classifier of {library}", build=build)


MODELS.add_catalogue(
    TORCHVISION,
    "any classifier of torchvision, such as resnet50, resnext50_32x4d or vgg19_bn",
    _of_torchvision,
    _torchvision_names,
)
MODELS.add_catalogue(
    TIMM,
    "any classifier of timm, such as inception_resnet_v2; `pip install timm`",
    _of_timm,
    _timm_names,
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
    name="resnet10",
    description="ResNet-10 for images of 224 pixels, 5.4 million weights for 1,000 classes",
    source="Liu, Miao, Zhan, Wang, Gong, Yu, Large-Scale Long-Tailed Recognition in an Open "
    "World, CVPR 2019",
    build=_of_shape("building", "resnet10"),
)
MODELS.add(
    name="preact_resnet18",
    description="pre-activation ResNet-18 for small images, 11.2 million weights",
    source="He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016",
    build=_of_shape("resnet", "PreActResNet18"),
)
