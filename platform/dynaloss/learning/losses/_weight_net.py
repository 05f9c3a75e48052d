"""The network of the Meta-Weight-Net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.losses._interfaces import TrainingFacts
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.losses.meta_weight_net import MetaWeightNetConfig
from dynaloss.learning.streams import Streams, default_generator_seeded


class MetaWeightNet(LearnedLoss):
    """Cross-entropy, each sample weighted in (0, 1) by a small network of its loss.

    Equations 3 to 5 of Shu et al., NeurIPS 2019: an MLP 1-H-1 (ReLU, sigmoid at the end), no
    gradient through its input. Deviations: the schedule, Adam and the metadata are the
    trainer's, so metadata are sampled from the noisy data unless a clean set is given. Ranks
    play no part.

    Args:
        seed: Seed of the initial parameters.
        **settings: As `loss` in a study: `hidden_size`.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import MetaWeightNet
        >>> net = MetaWeightNet(hidden_size=20, seed=1)
        >>> net.weights(torch.tensor([0.1, 2.5])).shape
        torch.Size([2])
    """

    look_ahead_view = "strong"

    def __init__(
        self,
        *,
        seed: int | Streams = 0,
        **settings: Any,  # noqa: ANN401 - validated
    ) -> None:
        super().__init__()
        self.settings = MetaWeightNetConfig.model_validate(settings)
        H = self.settings.hidden_size
        with default_generator_seeded(Streams.of(seed).derive("meta_weight_net")):
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


def build_meta_weight_net(settings: MetaWeightNetConfig, facts: TrainingFacts) -> MetaWeightNet:
    """The loss of a trial."""
    return MetaWeightNet(seed=facts.streams, **dict(settings))
