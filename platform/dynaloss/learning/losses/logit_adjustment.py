"""Losses that shift each logit by the logarithm of its class's frequency."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import TrainingFacts, TrainingLoss

__all__ = ["BalancedSoftmax", "LogitAdjustment"]


class LogitAdjustment(TrainingLoss):
    """Cross-entropy of the logits plus tau x log class frequency.

    Source: Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-Tail Learning via Logit Adjustment",
    ICLR 2021, equation 10. A class without a sample takes no part in the softmax.

    Args:
        facts: Class counts.
        tau: Strength, above 0; 1 is consistent for the balanced error.
    """

    accepts_soft_targets = True
    shift: Tensor

    def __init__(self, facts: TrainingFacts, *, tau: float) -> None:
        super().__init__()
        counts = facts.class_counts.double()
        self.register_buffer(
            "shift", (tau * torch.log(counts / counts.sum())).float(), persistent=False
        )

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`."""
        return F.cross_entropy(logits + self.shift.to(logits.dtype), labels)


class BalancedSoftmax(LogitAdjustment):
    """Cross-entropy of the softmax with each exponential multiplied by its class's size.

    Source: Ren, Yu, Sheng, Ma, Zhao, Yi, Li, "Balanced Meta-Softmax for Long-Tailed Visual
    Recognition", NeurIPS 2020, equation 3. Equals `LogitAdjustment` with tau = 1. Without the
    meta sampler of that paper.

    Args:
        facts: Class counts.
    """

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts, tau=1.0)
