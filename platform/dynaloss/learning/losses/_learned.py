"""A loss whose parameters are meta-learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn


class LearnedLoss(nn.Module):
    """A loss with parameters, which are meta-learned while the classifier trains.

    Attributes:
        look_ahead_view: The view whose logits the look-ahead step descends on.
    """

    look_ahead_view: Literal["weak", "strong"]

    @property
    def needs_logits(self) -> bool:
        """Whether `real_loss` needs the logits of the look-ahead view before the step."""
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

    def finetune_margins(self) -> Tensor | float:
        """Returns the margins of the logits in the pass over the metadata, (C,) or 0."""
        return 0.0
