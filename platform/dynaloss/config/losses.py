"""Settings of the losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from dynaloss.config.settings import Real, Settings, models_in

__all__ = [
    "LOSSES",
    "LOSS_MODELS",
    "BalancedSoftmaxConfig",
    "ClassBalancedConfig",
    "CorrectorConfig",
    "CrossEntropyConfig",
    "DynamicLossConfig",
    "ELRConfig",
    "FocalConfig",
    "GCEConfig",
    "LDAMConfig",
    "LogitAdjustmentConfig",
    "LossConfig",
    "MarginConfig",
    "MetaWeightNetConfig",
    "SCEConfig",
    "accepts_soft_targets",
    "is_learned",
]


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
    warm_start_epochs: int | None = Field(
        default=None,
        ge=1,
        description="First epochs of warm-up in which it is, at least 1; null takes all of "
        "schedule.warmup_epochs.",
    )
    pseudo_labels: Literal["sampled", "soft", "hard"] = Field(
        default="sampled",
        description="What a corrected label takes from the classifier. sampled: a class drawn "
        "from its softmax. soft: the softmax. hard: the most likely class.",
    )

    def warm_start_length(self, warmup_epochs: int) -> int:
        """First epochs in which the corrector is fitted, of so many epochs of warm-up."""
        if not self.warm_start:
            return 0
        return min(self.warm_start_epochs or warmup_epochs, warmup_epochs)


class MarginConfig(Settings):
    """The margin generator: a learned offset of each class's logit."""

    enabled: bool = Field(default=True, description="Whether margins are added.")
    in_finetune: bool = Field(
        default=True, description="Whether they are added in the pass over the metadata, too."
    )


class DynamicLossConfig(Settings):
    """The loss with parameters of its own, meta-learned beside the classifier."""

    name: Literal["dynamic"] = Field(default="dynamic", description="Name of the loss.")
    corrector: CorrectorConfig = CorrectorConfig()
    margin: MarginConfig = MarginConfig()
    finetune: bool = Field(
        default=True, description="Whether an epoch ends with one pass over its metadata."
    )


class CrossEntropyConfig(Settings):
    """Cross-entropy on the observed labels."""

    name: Literal["cross_entropy"] = Field(
        default="cross_entropy", description="Name of the loss."
    )
    label_smoothing: Real = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each target spread over all classes, in [0, 1).",
    )


class FocalConfig(Settings):
    """Cross-entropy that weighs samples down which are classified well."""

    name: Literal["focal"] = Field(default="focal", description="Name of the loss.")
    gamma: Real = Field(default=2.0, ge=0, description="Focus, at least 0; 0 is cross-entropy.")


class GCEConfig(Settings):
    """Generalised cross-entropy, between cross-entropy and absolute error."""

    name: Literal["gce"] = Field(default="gce", description="Name of the loss.")
    q: Real = Field(
        default=0.7,
        gt=0,
        le=1,
        description="In (0, 1]: towards 0 cross-entropy, 1 the mean absolute error.",
    )


class SCEConfig(Settings):
    """Symmetric cross-entropy: cross-entropy plus its reverse."""

    name: Literal["sce"] = Field(default="sce", description="Name of the loss.")
    alpha: Real = Field(default=0.1, ge=0, description="Factor of the cross-entropy, at least 0.")
    beta: Real = Field(
        default=1.0, ge=0, description="Factor of the reverse cross-entropy, at least 0."
    )


class ELRConfig(Settings):
    """Cross-entropy plus a pull towards what the classifier said earlier."""

    name: Literal["elr"] = Field(default="elr", description="Name of the loss.")
    strength: Real = Field(
        default=3.0, ge=0, description="Factor of the pull, lambda in the paper, at least 0."
    )
    momentum: Real = Field(
        default=0.7,
        ge=0,
        lt=1,
        description="Memory of earlier predictions, beta in the paper, in [0, 1).",
    )


class LDAMConfig(Settings):
    """Larger margins for rarer classes, with deferred re-weighting."""

    name: Literal["ldam"] = Field(default="ldam", description="Name of the loss.")
    max_margin: Real = Field(default=0.5, gt=0, description="Margin of the rarest class, above 0.")
    scale: Real = Field(default=30.0, gt=0, description="Factor of the logits, above 0.")
    cosine_head: bool = Field(
        default=True,
        description="Whether the last layer gives cosines, as the margins are meant for.",
    )
    drw_fraction: Real = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Share of the epochs, in [0, 1], after which classes are re-weighted; 1 "
        "never does.",
    )
    drw_epoch: int | None = Field(
        default=None,
        ge=0,
        description="Epoch from which they are, counted from 0, at least 0; null takes "
        "drw_fraction.",
    )

    def first_reweighted(self, epochs: int) -> int:
        """Epoch, counted from 0, from which classes are re-weighted; `epochs` for never."""
        epoch = round(self.drw_fraction * epochs) if self.drw_epoch is None else self.drw_epoch
        return min(epoch, epochs)


class BalancedSoftmaxConfig(Settings):
    """Softmax that counts each class by its training samples."""

    name: Literal["balanced_softmax"] = Field(
        default="balanced_softmax", description="Name of the loss."
    )


class LogitAdjustmentConfig(Settings):
    """Cross-entropy of logits shifted by the log frequency of each class."""

    name: Literal["logit_adjustment"] = Field(
        default="logit_adjustment", description="Name of the loss."
    )
    tau: Real = Field(default=1.0, gt=0, description="Strength of the shift, above 0.")


class ClassBalancedConfig(Settings):
    """Classes weighted by their inverse effective number of samples."""

    name: Literal["class_balanced"] = Field(
        default="class_balanced", description="Name of the loss."
    )
    beta: Real = Field(
        default=0.9999,
        ge=0,
        lt=1,
        description="In [0, 1): 0 weighs all classes alike, towards 1 by inverse frequency.",
    )
    gamma: Real = Field(
        default=0.0, ge=0, description="Focus of the focal loss, at least 0; 0 is cross-entropy."
    )


class MetaWeightNetConfig(Settings):
    """A learned weight per sample as a function of its loss."""

    name: Literal["meta_weight_net"] = Field(
        default="meta_weight_net", description="Name of the loss."
    )
    hidden_size: int = Field(
        default=100, ge=1, description="Units of its hidden layer, at least 1."
    )


def _loss_name(value: object) -> str:
    """Tag that picks the member of `LossConfig`; without a name it is the dynamic loss."""
    if isinstance(value, dict):
        return str(value.get("name", "dynamic"))
    return str(getattr(value, "name", "dynamic"))


LossConfig = Annotated[
    Annotated[DynamicLossConfig, Tag("dynamic")]
    | Annotated[CrossEntropyConfig, Tag("cross_entropy")]
    | Annotated[FocalConfig, Tag("focal")]
    | Annotated[GCEConfig, Tag("gce")]
    | Annotated[SCEConfig, Tag("sce")]
    | Annotated[ELRConfig, Tag("elr")]
    | Annotated[LDAMConfig, Tag("ldam")]
    | Annotated[BalancedSoftmaxConfig, Tag("balanced_softmax")]
    | Annotated[LogitAdjustmentConfig, Tag("logit_adjustment")]
    | Annotated[ClassBalancedConfig, Tag("class_balanced")]
    | Annotated[MetaWeightNetConfig, Tag("meta_weight_net")],
    Discriminator(_loss_name),
]


def is_learned(loss: LossConfig) -> bool:
    """Whether the loss has parameters of its own; without its parts the dynamic one has none."""
    if isinstance(loss, DynamicLossConfig):
        return loss.corrector.enabled or loss.margin.enabled
    return isinstance(loss, MetaWeightNetConfig)


def accepts_soft_targets(loss: LossConfig) -> bool:
    """Whether targets may be distributions: where the loss is a cross-entropy of fixed logits.

    Not where a target hangs on the rank or the loss of one image, which a mixed image has not,
    nor where the loss looks at the probability of the one observed class.
    """
    if isinstance(loss, DynamicLossConfig):
        return not is_learned(loss)
    return isinstance(loss, CrossEntropyConfig | BalancedSoftmaxConfig | LogitAdjustmentConfig)


LOSS_MODELS: Mapping[str, type[Settings]] = {
    str(model.model_fields["name"].default): model for model in models_in(LossConfig)
}
"""Settings of every loss by name; `loss.name` accepts exactly these."""

LOSSES = {name: (model.__doc__ or "").rstrip(".") for name, model in LOSS_MODELS.items()}
"""Every loss by name, in words."""
