"""The classifiers of our own by name; `torchvision/` and a name gives one of torchvision's."""

from __future__ import annotations

from dynaloss.config.families import MODELS
from dynaloss.lazy import Late

_HOME = "dynaloss.learning.models"

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
for _depth, _what in (
    (8, "the paper's network for CIFAR with 8 layers, for trials on a CPU"),
    (20, "the paper's network for CIFAR with 20 layers"),
    (32, "the paper's network for CIFAR, with option-A shortcuts"),
):
    MODELS.add(
        name=f"resnet{_depth}",
        description=_what,
        source="He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016",
        build=Late(f"{_HOME}.resnet", "CifarResNet", depth=_depth),
    )
MODELS.add(
    name="preact_resnet18",
    description="pre-activation ResNet-18 for small images, 11.2 million weights",
    source="He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016",
    build=Late(f"{_HOME}.resnet", "PreActResNet18"),
)
