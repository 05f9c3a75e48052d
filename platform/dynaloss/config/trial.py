"""The typed settings of one trial; defaults live here, once, and are the paper's."""

from __future__ import annotations

import difflib
import importlib
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from dynaloss.config.data import DataConfig
from dynaloss.config.families import SOURCES
from dynaloss.config.losses import (
    LOSSES,
    DynamicLossConfig,
    LossConfig,
    accepts_soft_targets,
)
from dynaloss.config.settings import PathText, Real, Settings, one_of, refusal, rule_error

__all__ = [
    "LOSSES",
    "MODELS",
    "SOURCES",
    "DataConfig",
    "DynamicLossConfig",
    "MetaConfig",
    "ModelConfig",
    "OptimizerConfig",
    "SamplerConfig",
    "ScheduleConfig",
    "TrialConfig",
]

MODELS = {
    "mlp": "two hidden layers on the flattened image",
    "small_cnn": "a few convolutions, for small images",
    "resnet8": "the paper's network for CIFAR with 8 layers, for trials on a CPU",
    "resnet20": "the paper's network for CIFAR with 20 layers",
    "resnet32": "the paper's network for CIFAR, with option-A shortcuts",
    "preact_resnet18": "pre-activation ResNet-18 for small images, 11.2 million weights",
}
"""Every classifier of our own by name; `torchvision/` and a name gives one of torchvision's."""

_TORCHVISION = "torchvision/"


def _known_model(name: str) -> str:
    if not name.startswith(_TORCHVISION):
        return one_of(MODELS)(name)
    # By name at run time: study files are read without torch, but for those that ask for it.
    models = importlib.import_module("torchvision.models")
    known = [_TORCHVISION + model for model in models.list_models(module=models)]
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean '{near[0]}'?" if near else "see torchvision.models.list_models()"
    raise rule_error("must be the name of a classifier of torchvision", remedy)


class ModelConfig(Settings):
    """The classifier."""

    name: Annotated[str, AfterValidator(_known_model)] = Field(
        default="resnet32",
        description="Name of the classifier; 'torchvision/resnet50' takes one of torchvision's.",
    )
    pretrained_path: PathText = Field(
        default=None, description="File of weights to start from, .pt or .pth; null for none."
    )


class SamplerConfig(Settings):
    """How each epoch draws its metadata, the balanced subset for the outer loss."""

    kind: Literal[
        "hierarchical", "random_balanced", "random", "low_loss_only", "fixed", "clean"
    ] = Field(
        default="hierarchical",
        description="hierarchical: draw at random per class, then keep the lowest losses. "
        "random_balanced: at random per class. random: at random. low_loss_only: the lowest "
        "losses per class. fixed: hierarchical, drawn once. clean: the set in sampler.path with "
        "its true labels, which count as clean labels used.",
    )
    random_ratio: Real = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Random draw per class, as a share in (0, 1] of the smallest class.",
    )
    low_loss_ratio: Real = Field(
        default=0.5, gt=0, le=1, description="Share in (0, 1] of the random draw that is kept."
    )
    every: int = Field(
        default=1, ge=1, description="Epochs from one draw to the next, at least 1."
    )
    keep_in_train: bool = Field(
        default=False, description="Whether the metadata stay in the epoch's training split, too."
    )
    path: PathText = Field(
        default=None,
        validate_default=True,
        description="For clean: file of indices into the source's training images, .npy or .csv.",
    )

    @field_validator("path")
    @classmethod
    def _given_for_a_clean_set(cls, path: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("kind") == "clean" and path is None:
            raise rule_error("must name a file of indices where sampler.kind is 'clean'")
        return path


class MetaConfig(Settings):
    """The outer level: Adam on the parameters of the loss."""

    lr: Real = Field(default=3e-3, gt=0, description="Learning rate of Adam, above 0.")
    every: int = Field(
        default=1, ge=1, description="Batches from one meta step to the next, at least 1."
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Metadata images per meta step, at least 1; null takes schedule.batch_size.",
    )
    hypergradient: Literal["forward", "unrolled", "head"] = Field(
        default="forward",
        description="How the gradient of the outer loss is computed. forward: exactly, by one "
        "forward-mode pass. unrolled: exactly, by a second graph through the network, which "
        "needs more memory. head: as if the look-ahead step moved the last linear layer alone, "
        "which is fastest and no longer exact.",
    )


class OptimizerConfig(Settings):
    """The inner level: SGD on the weights of the classifier."""

    lr: Real = Field(default=0.1, gt=0, description="Peak learning rate of SGD, above 0.")
    momentum: Real = Field(default=0.9, ge=0, lt=1, description="Momentum, in [0, 1).")
    weight_decay: Real = Field(default=5e-4, ge=0, description="Weight decay, at least 0.")


class ScheduleConfig(Settings):
    """How long a trial trains, in epochs, and in batches of what size."""

    epochs: int = Field(default=325, ge=1, description="Epochs of training, at least 1.")
    warmup_epochs: int = Field(
        default=5,
        ge=0,
        validate_default=True,
        description="Epochs of plain cross-entropy at the start, from 0 to `epochs`.",
    )
    batch_size: int = Field(default=512, ge=2, description="Images per batch, at least 2.")
    ramp_epochs: int = Field(
        default=5,
        ge=0,
        description="Epochs over which the learning rate rises from a tenth, at least 0.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Precision of the classifier's passes; losses and weights stay float32.",
    )
    deterministic: bool = Field(
        default=False,
        description="Whether equal trials are equal bit for bit on a GPU, too, which is slower; "
        "wants CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment. On a CPU they are anyway.",
    )
    compile: bool = Field(
        default=False,
        description="Whether the classifier's training passes go through torch.compile, for "
        "long trials; where that fails, a warning says so and the trial goes on without.",
    )

    @field_validator("warmup_epochs")
    @classmethod
    def _within_training(cls, warmup_epochs: int, info: ValidationInfo) -> int:
        epochs = info.data.get("epochs", warmup_epochs)
        if warmup_epochs > epochs:
            raise rule_error(f"must be at most schedule.epochs ({epochs})")
        return warmup_epochs


class TrialConfig(Settings):
    """Everything that one trial computes from, but for its seed and the data themselves."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = Field(default=DynamicLossConfig(), validate_default=True)
    sampler: SamplerConfig = SamplerConfig()
    meta: MetaConfig = MetaConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @field_validator("loss")
    @classmethod
    def _fit_for_mixup(cls, loss: LossConfig, info: ValidationInfo) -> LossConfig:
        data = info.data.get("data")
        if data is not None and data.views.mixup and not accepts_soft_targets(loss):
            raise refusal(
                "must be 'cross_entropy', 'balanced_softmax' or 'logit_adjustment' where "
                f"data.views.mixup is above 0: '{loss.name}' has no target for a mixed image"
            )
        return loss
