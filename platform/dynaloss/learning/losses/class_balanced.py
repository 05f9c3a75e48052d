"""The class-balanced loss."""

from __future__ import annotations

from torch import Tensor

from dynaloss.learning.losses.focal import focal_losses
from dynaloss.learning.losses.interfaces import (
    TrainingFacts,
    TrainingLoss,
    effective_number_weights,
)

__all__ = ["ClassBalancedLoss"]


class ClassBalancedLoss(TrainingLoss):
    """Cross-entropy, or the focal loss, weighted by the inverse effective number of samples.

    Source: Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of
    Samples", CVPR 2019, equations 10 and 13. Deviation: softmax in the focal form as well.

    Args:
        facts: Class counts.
        beta: In [0, 1): 0 weighs all classes alike, towards 1 by inverse frequency.
        gamma: Focus of the focal loss, at least 0; 0 is cross-entropy.
    """

    class_weights: Tensor

    def __init__(self, facts: TrainingFacts, *, beta: float, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        weights = effective_number_weights(facts.class_counts, beta)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`."""
        weights = self.class_weights[labels].to(logits.dtype)
        return (weights * focal_losses(logits, labels, self.gamma)).mean()
