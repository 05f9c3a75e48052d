"""The label-distribution-aware margin loss, with deferred re-weighting."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig, ScheduleConfig
from dynaloss.lazy import F, Tensor
from dynaloss.learning.losses._interfaces import (
    TrainingFacts,
    TrainingLoss,
    effective_number_weights,
)

# The beta of the class weights in the released code.
_EFFECTIVE_NUMBER_BETA = 0.9999


class LDAMConfig(LossConfig):
    """Settings of the label-distribution-aware margin loss."""

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
        description="Epoch from which they are, counted from 0, at least 0; null uses "
        "drw_fraction.",
    )

    @property
    def has_cosine_head(self) -> bool:
        """See `LossConfig`."""
        return self.cosine_head

    def first_reweighted(self, epochs: int) -> int:
        """Epoch, counted from 0, from which classes are re-weighted; `epochs` for never."""
        epoch = round(self.drw_fraction * epochs) if self.drw_epoch is None else self.drw_epoch
        return min(epoch, epochs)

    def effective(self, schedule: ScheduleConfig) -> dict[str, Any]:
        """See `LossConfig`; a share of the epochs counts as the epoch that it gives."""
        epoch = self.first_reweighted(schedule.epochs)
        return self.model_dump(exclude={"drw_fraction"}) | {"drw_epoch": epoch}


class LabelDistributionAwareMargin(TrainingLoss[LDAMConfig]):
    """Cross-entropy with a larger margin for rarer classes, re-weighted late in training.

    Equations 12 and 13 and algorithm 1 of the source: the observed class's logit is lowered by
    a margin in proportion to n^(-1/4) and all logits are multiplied by `scale`. The logits are
    meant to be cosines: see `CosineLinear`. From the first re-weighted epoch, classes are
    weighted by their effective number of samples and the mean is weighted.
    """

    def __init__(self, settings: LDAMConfig, facts: TrainingFacts) -> None:
        super().__init__(settings, facts)
        self._first_reweighted = settings.first_reweighted(facts.epochs)
        self._is_reweighted = False
        counts = facts.class_counts.double().clamp(min=1)
        self.margins = (settings.max_margin * (counts / counts.min()) ** -0.25).float()
        self.class_weights = effective_number_weights(facts.class_counts, _EFFECTIVE_NUMBER_BETA)

    def start_epoch(self, epoch: int) -> None:
        """Starts the re-weighting when its epoch is reached."""
        self._is_reweighted = epoch >= self._first_reweighted

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        margins = F.one_hot(labels, logits.shape[1]) * self.margins.to(logits.dtype)
        weights = self.class_weights.to(logits.dtype) if self._is_reweighted else None
        return F.cross_entropy(self.settings.scale * (logits - margins), labels, weight=weights)


LOSSES.add(
    name="ldam",
    description="larger margins for rarer classes, with deferred re-weighting",
    source="Cao, Wei, Gaidon, Arechiga, Ma, Learning Imbalanced Datasets with "
    "Label-Distribution-Aware Margin Loss, NeurIPS 2019",
    settings=LDAMConfig,
    build=LabelDistributionAwareMargin,
)
