"""The class-balanced loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import Tensor
from dynaloss.learning.losses._interfaces import (
    TrainingFacts,
    TrainingLoss,
    effective_number_weights,
)
from dynaloss.learning.losses.focal import focal_losses


class ClassBalancedConfig(LossConfig):
    """Settings of the class-balanced loss."""

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


class ClassBalancedLoss(TrainingLoss[ClassBalancedConfig]):
    """Cross-entropy, or the focal loss, weighted by the inverse effective number of samples.

    Equations 10 and 13 of the source. Deviation: softmax in the focal form as well.
    """

    def __init__(self, settings: ClassBalancedConfig, facts: TrainingFacts) -> None:
        super().__init__(settings, facts)
        self.class_weights = effective_number_weights(facts.class_counts, settings.beta)

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        weights = self.class_weights[labels].to(logits.dtype)
        return (weights * focal_losses(logits, labels, self.settings.gamma)).mean()


LOSSES.add(
    name="class_balanced",
    description="classes weighted by their inverse effective number of samples",
    source="Cui, Jia, Lin, Song, Belongie, Class-Balanced Loss Based on Effective Number of "
    "Samples, CVPR 2019",
    settings=ClassBalancedConfig,
    build=ClassBalancedLoss,
)
