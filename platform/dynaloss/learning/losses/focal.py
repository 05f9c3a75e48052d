"""The focal loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import TrainingFacts, TrainingLoss

__all__ = ["FocalLoss", "focal_losses"]


class FocalLoss(TrainingLoss):
    """Cross-entropy that weighs samples down which are classified well.

    Source: Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object Detection", ICCV 2017,
    equation 4: -(1 - p)^gamma log p. Deviation: softmax instead of sigmoid, no class factor.

    Args:
        facts: Not used.
        gamma: Focus, at least 0; 0 is cross-entropy.
    """

    def __init__(self, facts: TrainingFacts | None = None, *, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`."""
        return focal_losses(logits, labels, self.gamma).mean()


def focal_losses(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Focal loss of each sample in nats, shape (N,); see `FocalLoss`.

    Args:
        logits: Shape (N, C).
        labels: Observed labels, int64, shape (N,).
        gamma: At least 0; 0 is cross-entropy.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")
    if gamma == 0:
        return losses
    # Where p rounds to 1, a power below 1 would have an infinite slope.
    wrong = (-torch.expm1(-losses)).clamp(min=torch.finfo(losses.dtype).eps)
    return wrong**gamma * losses
