"""What the trainer needs of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["LearnedLoss", "TrainingFacts", "TrainingLoss", "effective_number_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What a loss may know of the training set; C classes.

    Attributes:
        class_counts: Samples per observed class, int64, shape (C,).
        num_samples: Number of training samples.
    """

    class_counts: Tensor
    num_samples: int


class TrainingLoss(nn.Module):
    """A loss that is given, not learned: the trainer calls it for every batch of every epoch.

    What it remembers of the samples is kept in buffers, so that checkpoints hold it.

    Attributes:
        accepts_soft_targets: Whether `labels` may be distributions over classes, shape (N, C).
    """

    is_learned = False
    accepts_soft_targets = False

    def start_epoch(self, epoch: int) -> None:
        """Says which epoch follows, counted from 0."""

    def forward(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """Mean loss of a batch, a scalar; may change what the loss remembers.

        Args:
            logits: Of the strong view, shape (N, C).
            labels: Observed labels, int64, shape (N,); or see `accepts_soft_targets`.
            indices: Positions of the samples in the training set, int64, shape (N,).
        """
        raise NotImplementedError


class LearnedLoss(nn.Module):
    """A loss with parameters, which are meta-learned while the classifier trains.

    Attributes:
        look_ahead_view: The view whose logits the look-ahead step descends on.
    """

    look_ahead_view: Literal["weak", "strong"]

    @property
    def is_learned(self) -> bool:
        """Whether there is any loss parameter to meta-learn."""
        return True

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

        Args:
            logits: Of the look-ahead view before the step, shape (N, C); None where
                `needs_logits` is false.
            labels: Observed labels, int64, shape (N,).
            ranks: Rank bins within the observed class, int64, shape (N,).
            generator: Random stream of the pseudo-labels.
        """
        raise NotImplementedError

    def finetune_margins(self) -> Tensor | float:
        """Returns what is added to the logits in the pass over the metadata, (C,) or 0."""
        return 0.0


def effective_number_weights(class_counts: Tensor, beta: float) -> Tensor:
    """Class weights by the inverse effective number of samples; they sum to C.

    Source: Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of
    Samples", CVPR 2019, equations 2 and 10: (1 - beta) / (1 - beta^n). A class without a
    sample has weight 0 and is not counted in C.

    Args:
        class_counts: Samples per class n, shape (C,).
        beta: In [0, 1): 0 weighs all classes alike, towards 1 by inverse frequency.
    """
    counts = class_counts.double()
    weights = torch.where(counts > 0, (1 - beta) / (1 - beta ** counts.clamp(min=1)), 0.0)
    return (weights * (counts > 0).sum() / weights.sum()).float()
