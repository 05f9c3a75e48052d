"""The balanced softmax."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import F, Tensor
from dynaloss.learning.losses._interfaces import TrainingFacts, TrainingLoss
from dynaloss.learning.losses.logit_adjustment import log_frequencies


class BalancedSoftmaxConfig(LossConfig):
    """The balanced softmax has no settings."""

    name: Literal["balanced_softmax"] = Field(
        default="balanced_softmax", description="Name of the loss."
    )

    accepts_soft_targets: ClassVar[bool] = True  # the logits are shifted by constants only


class BalancedSoftmax(TrainingLoss[BalancedSoftmaxConfig]):
    """Cross-entropy of the softmax with each exponential multiplied by its class's size.

    Equation 3 of the source; equals `LogitAdjustment` with tau = 1. Without the meta sampler of
    that paper.
    """

    def __init__(self, settings: BalancedSoftmaxConfig, facts: TrainingFacts) -> None:
        super().__init__(settings, facts)
        self.shift = log_frequencies(facts.class_counts, 1.0)

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        return F.cross_entropy(logits + self.shift.to(logits.dtype), labels)


LOSSES.add(
    name="balanced_softmax",
    description="softmax that counts each class by its training samples",
    source="Ren, Yu, Sheng, Ma, Zhao, Yi, Li, Balanced Meta-Softmax for Long-Tailed Visual "
    "Recognition, NeurIPS 2020",
    settings=BalancedSoftmaxConfig,
    build=BalancedSoftmax,
)
