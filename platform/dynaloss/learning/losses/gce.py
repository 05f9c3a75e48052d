"""The generalised cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import TrainingFacts, TrainingLoss

__all__ = ["GeneralisedCrossEntropy"]


class GeneralisedCrossEntropy(TrainingLoss):
    """Between cross-entropy (q towards 0) and the mean absolute error (q = 1).

    Source: Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
    Noisy Labels", NeurIPS 2018, equation 6: (1 - p^q) / q. Deviation: without the truncation of
    equation 9.

    Args:
        facts: Not used.
        q: In (0, 1].
    """

    def __init__(self, facts: TrainingFacts | None = None, *, q: float) -> None:
        super().__init__()
        self.q = q

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        return -torch.expm1(-self.q * losses).mean() / self.q
