"""A loss with a setting of its own, and with a memory that checkpoints keep."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dynaloss.config import LossConfig
from dynaloss.config.families import LossKind
from dynaloss.config.settings import Real
from dynaloss.learning.losses import TrainingFacts, TrainingLoss


class TemperedConfig(LossConfig):
    """Settings of the tempered cross-entropy; `name` is filled in."""

    temperature: Real = Field(default=1.0, gt=0, description="Divides the logits, above 0.")
    momentum: Real = Field(default=0.9, ge=0, lt=1, description="Memory of s, in [0, 1).")


class TemperedCrossEntropy(TrainingLoss[TemperedConfig]):
    """Cross-entropy of the logits over T s; s is the running standard deviation of all logits."""

    remembered = ("scale",)

    def __init__(self, settings: TemperedConfig, facts: TrainingFacts) -> None:
        super().__init__(settings, facts)
        self.scale = torch.ones(())

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        self.scale.lerp_(logits.detach().std(), 1 - self.settings.momentum)
        return F.cross_entropy(logits / (self.settings.temperature * self.scale), labels)


TEMPERED = LossKind(
    name="tempered",
    description="cross-entropy of logits on a scale of their own",
    settings=TemperedConfig,
    build=TemperedCrossEntropy,
)
