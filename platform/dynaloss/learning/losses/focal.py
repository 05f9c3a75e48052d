"""The focal loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import F, Tensor, torch
from dynaloss.learning.losses._interfaces import TrainingLoss


class FocalConfig(LossConfig):
    """Settings of the focal loss."""

    name: Literal["focal"] = Field(default="focal", description="Name of the loss.")
    gamma: Real = Field(default=2.0, ge=0, description="Focus, at least 0; 0 is cross-entropy.")


class FocalLoss(TrainingLoss[FocalConfig]):
    """Mean of `focal_losses`."""

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        return focal_losses(logits, labels, self.settings.gamma).mean()


def focal_losses(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Focal loss of each sample in nats, -(1 - p)^gamma log p, shape (N,); logits are (N, C).

    Equation 4 of the source. Deviation: softmax instead of sigmoid, no class factor.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")
    if gamma == 0:
        return losses
    # Where p rounds to 1, a power below 1 would have an infinite slope.
    wrong = (-torch.expm1(-losses)).clamp(min=torch.finfo(losses.dtype).eps)
    return wrong**gamma * losses


LOSSES.add(
    name="focal",
    description="cross-entropy with less weight on samples that are classified well",
    source="Lin, Goyal, Girshick, He, Dollar, Focal Loss for Dense Object Detection, ICCV 2017",
    settings=FocalConfig,
    build=FocalLoss,
)
