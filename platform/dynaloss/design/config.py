"""The typed settings of one trial; defaults live here, once, and are the paper's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from dynaloss.design.data_config import SOURCES, DataConfig, NoiseConfig, ValidationConfig
from dynaloss.design.loss_config import (
    LOSSES,
    CorrectorConfig,
    CrossEntropyConfig,
    DynamicLossConfig,
    LossConfig,
    MarginConfig,
)
from dynaloss.design.settings import Real, Settings, one_of, rule_error

__all__ = [
    "LOSSES",
    "MODELS",
    "SOURCES",
    "CorrectorConfig",
    "CrossEntropyConfig",
    "DataConfig",
    "DynamicLossConfig",
    "LossConfig",
    "MarginConfig",
    "MetaConfig",
    "ModelConfig",
    "NoiseConfig",
    "OptimizerConfig",
    "SamplerConfig",
    "ScheduleConfig",
    "TrialConfig",
    "ValidationConfig",
]

MODELS = {
    "mlp": "two hidden layers on the flattened image",
    "small_cnn": "a few convolutions, for small images",
    "resnet32": "the paper's network for CIFAR, with option-A shortcuts",
}
"""Every classifier by name; `model.name` accepts exactly these."""


class ModelConfig(Settings):
    """The classifier."""

    name: Annotated[str, AfterValidator(one_of(MODELS))] = Field(
        default="resnet32", description="Name of the classifier."
    )


class SamplerConfig(Settings):
    """How each epoch draws its metadata, the balanced subset for the outer loss."""

    kind: Literal["hierarchical"] = Field(
        default="hierarchical",
        description="hierarchical: draw at random per class, then keep the lowest losses.",
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
    loss: LossConfig = DynamicLossConfig()
    sampler: SamplerConfig = SamplerConfig()
    meta: MetaConfig = MetaConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
