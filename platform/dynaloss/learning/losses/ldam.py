"""The label-distribution-aware margin loss, with deferred re-weighting."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import (
    TrainingFacts,
    TrainingLoss,
    effective_number_weights,
)

__all__ = ["LabelDistributionAwareMargin"]

# The beta of the class weights in the released code.
EFFECTIVE_NUMBER_BETA = 0.9999


class LabelDistributionAwareMargin(TrainingLoss):
    """Cross-entropy with a larger margin for rarer classes, re-weighted late in training.

    Source: Cao, Wei, Gaidon, Arechiga, Ma, "Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss", NeurIPS 2019, equations 12 and 13, algorithm 1: the
    observed class's logit is lowered by a margin in proportion to n^(-1/4) and all logits are
    multiplied by `scale`. The logits are meant to be cosines: see `CosineLinear`.

    Args:
        facts: Class counts.
        max_margin: Margin of the rarest class, above 0.
        scale: Factor of the logits, above 0.
        drw_epoch: Epoch, counted from 0, from which classes are weighted by their effective
            number of samples (deferred re-weighting).
    """

    margins: Tensor
    class_weights: Tensor

    def __init__(
        self, facts: TrainingFacts, *, max_margin: float, scale: float, drw_epoch: int
    ) -> None:
        super().__init__()
        self.scale, self.drw_epoch, self.is_reweighted = scale, drw_epoch, False
        counts = facts.class_counts.double().clamp(min=1)
        margins = max_margin * (counts / counts.min()) ** -0.25
        weights = effective_number_weights(facts.class_counts, EFFECTIVE_NUMBER_BETA)
        self.register_buffer("margins", margins.float(), persistent=False)
        self.register_buffer("class_weights", weights, persistent=False)

    def start_epoch(self, epoch: int) -> None:
        """Starts the re-weighting when its epoch has come."""
        self.is_reweighted = epoch >= self.drw_epoch

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`; the mean is weighted once re-weighting has begun."""
        margins = F.one_hot(labels, logits.shape[1]) * self.margins.to(logits.dtype)
        weights = self.class_weights.to(logits.dtype) if self.is_reweighted else None
        return F.cross_entropy(self.scale * (logits - margins), labels, weight=weights)
