"""The typed settings of one trial; defaults live here, once, and are the paper's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from dynaloss.design.settings import Settings, models_in, one_of, rule_error, show

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

SOURCES = {
    "digits": "1,797 real 8 x 8 images of ten digits, part of scikit-learn: no download",
}
"""Every data source by name; `data.source` accepts exactly these."""

MODELS = {
    "mlp": "two hidden layers on the flattened image",
    "small_cnn": "a few convolutions, for small images",
    "resnet32": "the paper's network for CIFAR, with option-A shortcuts",
}
"""Every classifier by name; `model.name` accepts exactly these."""


def _without_sign_of_zero(value: float) -> float:
    # -0.0 equals 0.0 but prints otherwise, and would give an equal trial another key.
    return value + 0.0


Real = Annotated[float, AfterValidator(_without_sign_of_zero)]


class NoiseConfig(Settings):
    """How observed labels come to differ from true ones."""

    kind: Literal["symmetric", "none"] = Field(
        default="symmetric",
        description="Law of the label noise. symmetric: a noisy label is drawn by class "
        "frequency, and may be the true one. none: labels stay as they are, whatever the rate.",
    )
    rate: Real = Field(
        default=0.0, ge=0, le=1, description="Share of labels that are redrawn, in [0, 1]."
    )


class ValidationConfig(Settings):
    """A part of the training data, held out to select by."""

    fraction: Real = Field(
        default=0.0, ge=0, lt=1, description="Share of the training data held out, in [0, 1)."
    )
    labels: Literal["observed", "clean"] = Field(
        default="observed",
        description="Labels of the held-out part: as noisy as in training, or the true ones, "
        "which count as clean labels used.",
    )


class DataConfig(Settings):
    """Source of the data and the bias put on its training part: long tail first, then noise."""

    source: Annotated[str, AfterValidator(one_of(SOURCES))] = Field(
        default="digits", description="Name of the data source."
    )
    noise: NoiseConfig = NoiseConfig()
    imbalance_factor: Real = Field(
        default=1.0,
        description="Size of the largest training class over that of the smallest, "
        "n_max / n_min, at least 1; 1 keeps the classes balanced.",
    )
    n_max: int | None = Field(
        default=None,
        ge=1,
        description="Training images of the largest class, at least 1; null takes all there are.",
    )
    test_fraction: Real = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of the images kept for the test, in (0, 1), where the source has no "
        "test split of its own.",
    )
    validation: ValidationConfig = ValidationConfig()

    @field_validator("imbalance_factor")
    @classmethod
    def _largest_over_smallest(cls, factor: float) -> float:
        if factor >= 1:
            return factor
        inverse = f": did you mean {show(float(f'{1 / factor:.6g}'))}?" if factor > 0 else ""
        raise rule_error(
            "must be at least 1",
            "it is n_max / n_min, the inverse of what the released code writes" + inverse,
        )


class ModelConfig(Settings):
    """The classifier."""

    name: Annotated[str, AfterValidator(one_of(MODELS))] = Field(
        default="resnet32", description="Name of the classifier."
    )


class CorrectorConfig(Settings):
    """The label corrector: how far to trust an observed label, by its loss rank."""

    enabled: bool = Field(default=True, description="Whether labels are corrected.")
    ranks: int = Field(
        default=100, ge=2, description="Number of loss-rank bins per class, at least 2."
    )
    per_class: bool = Field(
        default=True, description="One trust curve for each class, or one for all of them."
    )
    warm_start: bool = Field(
        default=True, description="Whether the corrector is fitted during warm-up already."
    )


class MarginConfig(Settings):
    """The margin generator: a learned offset of each class's logit."""

    enabled: bool = Field(default=True, description="Whether margins are added.")


class DynamicLossConfig(Settings):
    """The loss with parameters of its own, meta-learned beside the classifier."""

    name: Literal["dynamic"] = Field(default="dynamic", description="Name of the loss.")
    corrector: CorrectorConfig = CorrectorConfig()
    margin: MarginConfig = MarginConfig()
    finetune: bool = Field(
        default=True, description="Whether an epoch ends with one pass over its metadata."
    )


class CrossEntropyConfig(Settings):
    """Plain cross-entropy on the observed labels."""

    name: Literal["cross_entropy"] = Field(
        default="cross_entropy", description="Name of the loss."
    )


def _loss_name(value: object) -> str:
    """Tag that picks the member of `LossConfig`; without a name it is the dynamic loss."""
    if isinstance(value, dict):
        return str(value.get("name", "dynamic"))
    return str(getattr(value, "name", "dynamic"))


LossConfig = Annotated[
    Annotated[DynamicLossConfig, Tag("dynamic")]
    | Annotated[CrossEntropyConfig, Tag("cross_entropy")],
    Discriminator(_loss_name),
]

LOSSES = {
    str(model.model_fields["name"].default): (model.__doc__ or "").rstrip(".")
    for model in models_in(LossConfig)
}
"""Every loss by name; `loss.name` accepts exactly these."""


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
