"""Meta-Weight-Net: a learned weight per sample as a function of its loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.losses.interfaces import LearnedLoss

__all__ = ["MetaWeightNet"]


class MetaWeightNet(LearnedLoss):
    """Cross-entropy, each sample weighted in (0, 1) by a small network of its loss.

    Source: Shu, Xie, Yi, Zhao, Zhou, Xu, Meng, "Meta-Weight-Net: Learning an Explicit Mapping For
    Sample Weighting", NeurIPS 2019, equations 3 to 5: an MLP 1-H-1 (ReLU, sigmoid at the end),
    no gradient through its input. Deviations: the schedule, Adam and the metadata are the
    trainer's, so metadata are sampled from the noisy data unless a clean set is given.

    Args:
        hidden_size: H, at least 1 (100 in the paper).
    """

    look_ahead_view = "strong"

    def __init__(self, *, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 1), nn.Sigmoid()
        )

    def weights(self, losses: Tensor) -> Tensor:
        """Weights in (0, 1) of samples with the given losses in nats, shape (N,)."""
        weights: Tensor = self.layers(losses.detach().unsqueeze(1))
        return weights.squeeze(1)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean weighted loss of a batch in nats, a scalar."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        return (self.weights(losses) * losses).mean()

    def look_ahead_loss(
        self, logits: Tensor, labels: Tensor, ranks: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `LearnedLoss.look_ahead_loss`; ranks play no part."""
        return self(logits, labels)  # type: ignore[no-any-return] # a module's call has no type

    def real_loss(
        self, logits: Tensor | None, labels: Tensor, ranks: Tensor, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """See `LearnedLoss.real_loss`: weights by the losses of the real step itself."""

        def loss(strong: Tensor) -> Tensor:
            losses = F.cross_entropy(strong, labels, reduction="none")
            with torch.no_grad():
                weights = self.weights(losses)
            return (weights * losses).mean()

        return loss
