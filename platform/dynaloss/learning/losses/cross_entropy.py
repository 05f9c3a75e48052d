"""Cross-entropy, with label smoothing."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import TrainingFacts, TrainingLoss

__all__ = ["CrossEntropy"]


class CrossEntropy(TrainingLoss):
    """Cross-entropy on the observed labels, in nats.

    Source of the smoothing: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception
    Architecture for Computer Vision", CVPR 2016, section 7: q'(k) = (1 - s) onehot(k) + s / C.

    Args:
        facts: Not used.
        label_smoothing: s in [0, 1).
    """

    accepts_soft_targets = True

    def __init__(self, facts: TrainingFacts | None = None, *, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss.forward`."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
