"""Settings of the losses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from dynaloss.design.settings import Settings, models_in

__all__ = [
    "LOSSES",
    "CorrectorConfig",
    "CrossEntropyConfig",
    "DynamicLossConfig",
    "LossConfig",
    "MarginConfig",
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
