"""The network of the Meta-Weight-Net."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.losses._interfaces import TrainingFacts
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.losses.meta_weight_net import MetaWeightNetConfig
from dynaloss.learning.streams import default_generator_seeded


class MetaWeightNet(LearnedLoss):
    """Cross-entropy, each sample weighted in (0, 1) by a small network of its loss.

    Equations 3 to 5 of Shu et al., NeurIPS 2019: an MLP 1-H-1 (ReLU, sigmoid at the end), no
    gradient through its input. Deviations: the schedule, Adam and the metadata are the
    trainer's, so metadata are sampled from the noisy data unless a clean set is given.
    """

    look_ahead_view = "strong"

    def __init__(self, settings: MetaWeightNetConfig, facts: TrainingFacts) -> None:
        super().__init__()
        self.settings, H = settings, settings.hidden_size
        with default_generator_seeded(facts.streams.derive("meta_weight_net")):
            self.layers = nn.Sequential(nn.Linear(1, H), nn.ReLU(), nn.Linear(H, 1), nn.Sigmoid())

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
