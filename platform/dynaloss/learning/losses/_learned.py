"""A loss whose parameters are meta-learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn


class LearnedLoss(nn.Module):
    """A loss with parameters, which are meta-learned while the classifier trains.

    One of your own defines `look_ahead_loss` and `real_loss`; `MetaStep` does the rest. Here a
    cross-entropy whose label smoothing is learned:

    Examples:
        >>> import torch
        >>> from torch.nn.functional import cross_entropy
        >>> from dynaloss.learning import LearnedLoss
        >>> class LearnedSmoothing(LearnedLoss):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.logit = torch.nn.Parameter(torch.tensor(-2.0))
        ...
        ...     def forward(self, logits, labels):
        ...         smoothing = self.logit.sigmoid()
        ...         uniform = -logits.log_softmax(dim=1).mean()
        ...         return (1 - smoothing) * cross_entropy(logits, labels) + smoothing * uniform
        ...
        ...     def look_ahead_loss(self, logits, labels, ranks, generator):
        ...         return self(logits, labels)
        ...
        ...     def real_loss(self, logits, labels, ranks, generator):
        ...         return lambda strong: self(strong, labels)
        >>> LearnedSmoothing()(torch.zeros(1, 2), torch.tensor([0])).detach()  # ln 2
        tensor(0.6931)

    Attributes:
        look_ahead_view: The view whose logits the look-ahead step descends on, and by whose
            logits the loss is fitted in warm-up.
    """

    look_ahead_view: Literal["weak", "strong"]

    @property
    def needs_logits(self) -> bool:
        """Whether `real_loss` needs the logits of the look-ahead view before the step."""
        return False

    @property
    def updates_statistics(self) -> bool:
        """Whether the passes of a warm start count in the running statistics of batch norm."""
        return False

    def look_ahead_loss(
        self, logits: Tensor, labels: Tensor, ranks: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Mean loss of the look-ahead step, differentiable twice in logits and parameters.

        Args:
            logits: Of the look-ahead view, shape (N, C).
            labels: Observed labels, int64, shape (N,).
            ranks: Rank bins within the observed class, int64, shape (N,).
            generator: Random stream of the pseudo-labels.
        """
        raise NotImplementedError

    def real_loss(
        self, logits: Tensor | None, labels: Tensor, ranks: Tensor, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """Returns the loss of the real step as a function of the strong view's logits.

        The arguments are those of `look_ahead_loss`, with the logits before the step; they are
        None where `needs_logits` is false.
        """
        raise NotImplementedError

    def warm_start_loss(self, logits: Tensor, labels: Tensor, ranks: Tensor) -> Tensor:
        """Loss that the loss parameters are fitted by in warm-up, where there is one; a scalar.

        The arguments are those of `look_ahead_loss`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no warm start.")

    def finetune_margins(self) -> Tensor | float:
        """Returns the margins of the logits in the pass over the metadata, (C,) or 0."""
        return 0.0
