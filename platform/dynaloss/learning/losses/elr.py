"""Early-learning regularisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import F, Tensor, torch
from dynaloss.learning.losses._interfaces import TrainingFacts, TrainingLoss

# Keeps log(1 - <p, t>) finite, as in the released code.
_SMALLEST_PROB = 1e-4


class ELRConfig(LossConfig):
    """Settings of early-learning regularisation."""

    name: Literal["elr"] = Field(default="elr", description="Name of the loss.")
    strength: Real = Field(
        default=3.0, ge=0, description="Factor of the pull, lambda in the paper, at least 0."
    )
    momentum: Real = Field(
        default=0.7,
        ge=0,
        lt=1,
        description="Memory of earlier predictions, beta in the paper, in [0, 1).",
    )


class EarlyLearningRegularisation(TrainingLoss[ELRConfig]):
    """Cross-entropy plus a pull towards earlier predictions: CE + lambda log(1 - <p, t>).

    Equations 6 and 9 of the source, with t <- beta t + (1 - beta) p. As in the released code, p
    is kept in [1e-4, 1 - 1e-4] and t is updated by the present p before it is used.
    """

    remembered = ("memory",)

    def __init__(self, settings: ELRConfig, facts: TrainingFacts) -> None:
        super().__init__(settings, facts)
        self.memory = torch.zeros(facts.num_samples, facts.num_classes)

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`; the memory of these samples is updated."""
        probs = F.softmax(logits, dim=1).clamp(_SMALLEST_PROB, 1 - _SMALLEST_PROB)
        given = probs.detach()
        normalised = (given / given.sum(dim=1, keepdim=True)).to(self.memory.dtype)
        before = self.memory[indices]
        self.memory[indices] = torch.lerp(normalised, before, self.settings.momentum)
        pull = torch.log1p(-(probs * self.memory[indices].to(probs.dtype)).sum(dim=1)).mean()
        return F.cross_entropy(logits, labels) + self.settings.strength * pull


LOSSES.add(
    name="elr",
    description="cross-entropy plus a pull towards the classifier's earlier predictions",
    source="Liu, Niles-Weed, Razavian, Fernandez-Granda, Early-Learning Regularization "
    "Prevents Memorization of Noisy Labels, NeurIPS 2020",
    settings=ELRConfig,
    build=EarlyLearningRegularisation,
)
