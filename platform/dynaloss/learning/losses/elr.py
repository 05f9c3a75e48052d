"""Early-learning regularisation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import TrainingFacts, TrainingLoss

__all__ = ["EarlyLearningRegularisation"]

# Keeps log(1 - <p, t>) finite, as in the released code.
SMALLEST_PROB = 1e-4


class EarlyLearningRegularisation(TrainingLoss):
    """Cross-entropy plus a pull towards what the classifier said of a sample earlier.

    Source: Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents
    Memorization of Noisy Labels", NeurIPS 2020, equations 6 and 9: CE + lambda log(1 - <p, t>)
    with t <- beta t + (1 - beta) p. As in the released code, p is kept in [1e-4, 1 - 1e-4] and
    t is updated by the present p before it is used.

    Args:
        facts: Number of samples and of classes.
        strength: lambda, at least 0.
        momentum: beta in [0, 1).
    """

    memory: Tensor

    def __init__(self, facts: TrainingFacts, *, strength: float, momentum: float) -> None:
        super().__init__()
        self.strength, self.momentum = strength, momentum
        self.register_buffer("memory", torch.zeros(facts.num_samples, len(facts.class_counts)))

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`; the memory of these samples is updated."""
        probs = F.softmax(logits, dim=1).clamp(SMALLEST_PROB, 1 - SMALLEST_PROB)
        self._remember(probs.detach(), indices)
        agreement = (probs * self.memory[indices].to(probs.dtype)).sum(dim=1)
        return F.cross_entropy(logits, labels) + self.strength * torch.log1p(-agreement).mean()

    def _remember(self, probs: Tensor, indices: Tensor) -> None:
        normalised = (probs / probs.sum(dim=1, keepdim=True)).to(self.memory.dtype)
        self.memory[indices] = torch.lerp(normalised, self.memory[indices], self.momentum)
