"""The symmetric cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import TrainingFacts, TrainingLoss

__all__ = ["SymmetricCrossEntropy"]

# What log 0 of the one-hot label is set to (section 3.3 of the paper).
LOG_OF_ZERO = -4.0


class SymmetricCrossEntropy(TrainingLoss):
    """alpha x cross-entropy + beta x reverse cross-entropy.

    Source: Wang, Ma, Chen, Luo, Yi, Bailey, "Symmetric Cross Entropy for Robust Learning with
    Noisy Labels", ICCV 2019, equation 7; with log 0 = A = -4 the reverse term is -A (1 - p).

    Args:
        facts: Not used.
        alpha: Factor of the cross-entropy, at least 0.
        beta: Factor of the reverse cross-entropy, at least 0.
    """

    def __init__(self, facts: TrainingFacts | None = None, *, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        reverse = LOG_OF_ZERO * torch.expm1(-losses)
        return (self.alpha * losses + self.beta * reverse).mean()
