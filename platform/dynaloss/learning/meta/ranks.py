"""Ranks of samples by loss within their observed class."""

from __future__ import annotations

from dynaloss.lazy import Tensor, torch


def sort_within_classes(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Orders samples by class, then ascending by value; ties keep the order of the samples.

    Returns `order`: indices of the samples, classes one after the other, and `positions`: for each
    sample its position from 0 inside its class; each int64, shape (N,).
    """
    # Two stable sorts, the less important key first, order by (class, value).
    by_value = torch.argsort(values, stable=True)
    order = by_value[torch.argsort(labels[by_value], stable=True)]
    counts = torch.bincount(labels)
    starts = torch.cumsum(counts, dim=0) - counts
    positions = torch.empty_like(order)
    positions[order] = torch.arange(len(order), device=order.device) - starts[labels[order]]
    return order, positions


def rank_bins(
    losses: Tensor, labels: Tensor, num_ranks: int, generator: torch.Generator | None = None
) -> Tensor:
    """Bins samples by their loss within their observed class, lowest loss first.

    Implements bin = floor(position / (n_class + 1) * R) (released code of arXiv 2211.12506).
    Bins are in [0, R), int64, shape (N,); a class with fewer than R samples uses few of them.
    A generator, where there is one, draws the positions instead.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import rank_bins
        >>> rank_bins(torch.tensor([0.3, 2.0, 0.1, 0.7]), torch.tensor([0, 0, 2, 0]), num_ranks=4)
        tensor([0, 2, 0, 1])
    """
    if generator is not None:
        drawn = torch.rand(losses.shape, generator=generator, device=generator.device)
        losses = drawn.to(labels.device)
    _, positions = sort_within_classes(losses, labels)
    class_sizes = torch.bincount(labels)[labels]
    return positions * num_ranks // (class_sizes + 1)
