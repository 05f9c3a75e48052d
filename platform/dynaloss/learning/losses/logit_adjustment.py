"""Logit adjustment for long tails."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import F, Tensor, torch
from dynaloss.learning.losses._interfaces import TrainingFacts, TrainingLoss


class LogitAdjustmentConfig(LossConfig):
    """Settings of the logit adjustment."""

    name: Literal["logit_adjustment"] = Field(
        default="logit_adjustment", description="Name of the loss."
    )
    tau: Real = Field(
        default=1.0,
        gt=0,
        description="Strength of the shift, above 0; 1 is consistent for the balanced error.",
    )

    accepts_soft_targets: ClassVar[bool] = True  # the logits are shifted by constants only


class LogitAdjustment(TrainingLoss[LogitAdjustmentConfig]):
    """Cross-entropy of the logits plus tau x log class frequency.

    Equation 10 of the source. A class without a sample is not part of the softmax.
    """

    def __init__(self, settings: LogitAdjustmentConfig, facts: TrainingFacts) -> None:
        super().__init__(settings, facts)
        self.shift = log_frequencies(facts.class_counts, settings.tau)

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        return F.cross_entropy(logits + self.shift.to(logits.dtype), labels)


def log_frequencies(class_counts: Tensor, tau: float) -> Tensor:
    """Tau x log class frequency of each class, shape (C,)."""
    counts = class_counts.double()
    return (tau * torch.log(counts / counts.sum())).float()


LOSSES.add(
    name="logit_adjustment",
    description="cross-entropy of logits shifted by the log frequency of each class",
    source="Menon, Jayasumana, Rawat, Jain, Veit, Kumar, Long-Tail Learning via Logit "
    "Adjustment, ICLR 2021",
    settings=LogitAdjustmentConfig,
    build=LogitAdjustment,
)
