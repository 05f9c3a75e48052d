"""The generalised cross-entropy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import F, Tensor, torch
from dynaloss.learning.losses._interfaces import TrainingLoss


class GCEConfig(LossConfig):
    """Settings of the generalised cross-entropy."""

    name: Literal["gce"] = Field(default="gce", description="Name of the loss.")
    q: Real = Field(
        default=0.7,
        gt=0,
        le=1,
        description="In (0, 1]: towards 0 cross-entropy, 1 the mean absolute error.",
    )


class GeneralisedCrossEntropy(TrainingLoss[GCEConfig]):
    """Between cross-entropy (q towards 0) and the mean absolute error (q = 1): (1 - p^q) / q.

    Equation 6 of the source. Deviation: without the truncation of equation 9.
    """

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        return -torch.expm1(-self.settings.q * losses).mean() / self.settings.q


LOSSES.add(
    name="gce",
    description="generalised cross-entropy, between cross-entropy and absolute error",
    source="Zhang, Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks "
    "with Noisy Labels, NeurIPS 2018",
    settings=GCEConfig,
    build=GeneralisedCrossEntropy,
)
