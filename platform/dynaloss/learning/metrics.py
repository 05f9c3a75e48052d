"""Metric names, and the numbers behind them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["accuracy_metrics", "area_under_curve", "confusion_matrix"]


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts (true class, predicted class) pairs, int64, shape (C, C)."""
    cells = labels * num_classes + predictions
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy_metrics(confusion: Tensor, role: str) -> dict[str, float]:
    """Returns accuracy, balanced accuracy and worst-class accuracy, each in [0, 1].

    Args:
        confusion: Counts, rows true classes, shape (C, C). Classes without a sample are left
            out of the balanced and the worst-class accuracy.
        role: Prefix of the names, such as `test`.
    """
    hits, totals = confusion.diagonal().double(), confusion.sum(dim=1)
    recalls = (hits / totals)[totals > 0]
    return {
        f"{role}/accuracy": float(hits.sum() / totals.sum()),
        f"{role}/balanced_accuracy": float(recalls.mean()),
        f"{role}/worst_class_accuracy": float(recalls.min()),
    }


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve of `scores` for telling `positive` samples, ties counted half.

    Args:
        scores: Shape (N,).
        positive: Whether a sample is positive, bool, shape (N,).

    Returns:
        The share of (positive, negative) pairs in which the positive one has the higher score,
        in [0, 1]; NaN where one of the two kinds is missing.
    """
    _, inverse = torch.unique(scores, return_inverse=True)
    positives = torch.bincount(inverse, weights=positive.double())
    negatives = torch.bincount(inverse, weights=(~positive).double())
    pairs = float(positives.sum() * negatives.sum())
    if not pairs:
        return math.nan
    below = torch.cumsum(negatives, dim=0) - negatives
    return float((positives * (below + 0.5 * negatives)).sum()) / pairs
