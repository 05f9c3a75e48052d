"""The balanced softmax: each exponential is multiplied by the size of its class."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.trial import LossConfig
from dynaloss.learning.losses._interfaces import TrainingFacts
from dynaloss.learning.losses.logit_adjustment import LogitAdjustment, LogitAdjustmentConfig


class BalancedSoftmaxConfig(LossConfig):
    """The balanced softmax has no settings."""

    name: Literal["balanced_softmax"] = Field(
        default="balanced_softmax", description="Name of the loss."
    )

    accepts_soft_targets: ClassVar[bool] = True  # the logits are shifted by constants only


def _build(_: BalancedSoftmaxConfig, facts: TrainingFacts) -> LogitAdjustment:
    """Equation 3 of the source, which logit adjustment with tau = 1 equals; no meta sampler."""
    return LogitAdjustment(LogitAdjustmentConfig(tau=1), facts)


LOSSES.add(
    name="balanced_softmax",
    description="softmax that counts each class by its training samples",
    source="Ren, Yu, Sheng, Ma, Zhao, Yi, Li, Balanced Meta-Softmax for Long-Tailed Visual "
    "Recognition, NeurIPS 2020",
    settings=BalancedSoftmaxConfig,
    build=_build,
)
