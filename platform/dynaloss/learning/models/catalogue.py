"""The classifiers of our own by name; `torchvision/` and a name gives one of torchvision's."""

from __future__ import annotations

from functools import partial

from dynaloss.config.families import MODELS
from dynaloss.lazy import Late

_HOME = "dynaloss.learning.models"
_cifar_resnet = partial(Late, f"{_HOME}.resnet", "CifarResNet")
_RESNET = "He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016"

MODELS.add(
    name="mlp",
    description="two hidden layers on the flattened image",
    build=Late(f"{_HOME}.small", "MLP"),
)
MODELS.add(
    name="small_cnn",
    description="a few convolutions, for small images",
    build=Late(f"{_HOME}.small", "SmallCNN"),
)
MODELS.add(
    name="resnet8",
    description="the paper's network for CIFAR with 8 layers, for trials on a CPU",
    source=_RESNET,
    build=_cifar_resnet(depth=8),
)
MODELS.add(
    name="resnet20",
    description="the paper's network for CIFAR with 20 layers",
    source=_RESNET,
    build=_cifar_resnet(depth=20),
)
MODELS.add(
    name="resnet32",
    description="the paper's network for CIFAR, with option-A shortcuts",
    source=_RESNET,
    build=_cifar_resnet(depth=32),
)
MODELS.add(
    name="preact_resnet18",
    description="pre-activation ResNet-18 for small images, 11.2 million weights",
    source="He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016",
    build=Late(f"{_HOME}.resnet", "PreActResNet18"),
)
