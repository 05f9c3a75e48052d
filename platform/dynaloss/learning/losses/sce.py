"""The symmetric cross-entropy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import F, Tensor, torch
from dynaloss.learning.losses._interfaces import TrainingLoss

# What log 0 of the one-hot label is set to (section 3.3 of the source).
_LOG_OF_ZERO = -4.0


class SCEConfig(LossConfig):
    """Settings of the symmetric cross-entropy."""

    name: Literal["sce"] = Field(default="sce", description="Name of the loss.")
    alpha: Real = Field(default=0.1, ge=0, description="Factor of the cross-entropy, at least 0.")
    beta: Real = Field(
        default=1.0, ge=0, description="Factor of the reverse cross-entropy, at least 0."
    )


class SymmetricCrossEntropy(TrainingLoss[SCEConfig]):
    """alpha x cross-entropy + beta x reverse cross-entropy.

    Equation 7 of the source; with log 0 = A = -4 the reverse term is -A (1 - p).
    """

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        reverse = _LOG_OF_ZERO * torch.expm1(-losses)
        return (self.settings.alpha * losses + self.settings.beta * reverse).mean()


LOSSES.add(
    name="sce",
    description="symmetric cross-entropy: cross-entropy plus its reverse",
    source="Wang, Ma, Chen, Luo, Yi, Bailey, Symmetric Cross Entropy for Robust Learning with "
    "Noisy Labels, ICCV 2019",
    settings=SCEConfig,
    build=SymmetricCrossEntropy,
)
