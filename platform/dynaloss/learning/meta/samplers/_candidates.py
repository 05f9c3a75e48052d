"""What metadata are drawn from, and the draws that several kinds share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dynaloss.config.trial import SamplerConfig
from dynaloss.lazy import Tensor, torch
from dynaloss.learning.meta.ranks import sort_within_classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The training set as a sampler sees it at the start of an epoch; N samples.

    Attributes:
        losses: Loss of each sample on its observed label, shape (N,).
        labels: Observed labels, int64, shape (N,). Classes without a sample are left out.
        clean_set: Positions that a file names, ascending, int64; None without such a file.
        generator: Random stream, on the device of `labels`.
    """

    losses: Tensor
    labels: Tensor
    clean_set: Tensor | None
    generator: torch.Generator

    def sizes(self, settings: SamplerConfig) -> tuple[int, int]:
        """How many samples of each class are drawn at random, and how many of them are kept."""
        counts = torch.bincount(self.labels)
        smallest = int(counts[counts > 0].min())
        return samples_per_class(smallest, settings.random_ratio, settings.low_loss_ratio)


def samples_per_class(
    smallest_class: int, random_ratio: float, low_loss_ratio: float
) -> tuple[int, int]:
    """Returns how many samples of each class are drawn, and how many of those are kept.

    Deviation from the released code: at least 1 of each, where its formula may give 0 and stop.
    """
    # The small term keeps a product such as 0.1 * 30 = 3.0000000000000004 or 2.9999999999999996
    # on the intended integer.
    drawn = max(1, math.floor(random_ratio * smallest_class + 1e-9))
    kept = max(1, math.floor(random_ratio * smallest_class * low_loss_ratio + 1e-9))
    return drawn, kept


def balanced_sample(labels: Tensor, per_class: int, generator: torch.Generator) -> Tensor:
    """Draws the same number of samples of every observed class at random; ascending indices."""
    noise = torch.rand(labels.shape, generator=generator, device=labels.device)
    return low_loss_sample(noise, labels, per_class)


def low_loss_sample(losses: Tensor, labels: Tensor, per_class: int) -> Tensor:
    """Chooses the samples of lowest loss of every observed class; ascending indices."""
    _, positions = sort_within_classes(losses, labels)
    return torch.nonzero(positions < per_class).squeeze(1)
