"""Ways to draw the metadata of the outer loss; the paper's is hierarchical."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dynaloss.learning.meta.ranks import sort_within_classes

__all__ = [
    "balanced_sample",
    "hierarchical_sample",
    "low_loss_sample",
    "samples_per_class",
    "uniform_sample",
]


def samples_per_class(
    smallest_class: int, random_ratio: float, low_loss_ratio: float
) -> tuple[int, int]:
    """Returns how many samples of each class are drawn, and how many of those are kept.

    Deviation from the released code: at least 1 of each, where its formula may give 0 and stop.
    """
    # The small term keeps a product such as 0.1 * 30 = 3.0000000000000004 or 2.9999999999999996
    # on the integer that is meant.
    drawn = max(1, math.floor(random_ratio * smallest_class + 1e-9))
    kept = max(1, math.floor(random_ratio * smallest_class * low_loss_ratio + 1e-9))
    return drawn, kept


def hierarchical_sample(
    losses: Tensor,
    labels: Tensor,
    *,
    random_ratio: float,
    low_loss_ratio: float,
    generator: torch.Generator,
) -> Tensor:
    """Draws the metadata of an epoch: per observed class some at random, then the lowest losses.

    Source: arXiv 2211.12506, hierarchical sampling. With m the size of the smallest observed
    class, floor(random_ratio * m) samples per class are drawn at random (diversity), of which
    floor(random_ratio * m * low_loss_ratio) with the lowest loss are kept (cleanness).

    Args:
        losses: Loss of each sample on its observed label, shape (N,).
        labels: Observed labels, int64, shape (N,). Classes without a sample are left out.
        random_ratio: In (0, 1].
        low_loss_ratio: In (0, 1].
        generator: Random stream, on the device of `labels`.

    Returns:
        Indices of the metadata, the same number of every class, ascending, int64.
    """
    counts = torch.bincount(labels)
    drawn, kept = samples_per_class(int(counts[counts > 0].min()), random_ratio, low_loss_ratio)
    candidates = balanced_sample(labels, drawn, generator)
    return candidates[low_loss_sample(losses[candidates], labels[candidates], kept)]


def balanced_sample(labels: Tensor, per_class: int, generator: torch.Generator) -> Tensor:
    """Draws the same number of samples of every observed class at random; ascending indices."""
    noise = torch.rand(labels.shape, generator=generator, device=labels.device)
    return low_loss_sample(noise, labels, per_class)


def uniform_sample(labels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draws `size` samples at random whatever their class; ascending indices."""
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    return order[:size].sort().values


def low_loss_sample(losses: Tensor, labels: Tensor, per_class: int) -> Tensor:
    """Takes the samples of lowest loss of every observed class; ascending indices."""
    _, positions = sort_within_classes(losses, labels)
    return torch.nonzero(positions < per_class).squeeze(1)
