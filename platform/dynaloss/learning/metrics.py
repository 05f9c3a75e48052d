"""Metric names, and the numbers behind them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NUM_CALIBRATION_BINS = 15
# Many-shot classes have more training samples than the first, few-shot ones fewer than the second.
_SHOT_THRESHOLDS = (100, 20)
# Sizes of classes count as different from this ratio on.
_SMALLEST_IMBALANCE = 2
_MOST_CLASSES_WITHOUT_TOP5 = 10


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts (true class, predicted class) pairs, int64, shape (C, C)."""
    cells = labels * num_classes + predictions
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy_metrics(confusion: Tensor, role: str) -> dict[str, float]:
    """Returns accuracy, balanced and worst-class accuracy, in [0, 1], by `<role>/accuracy` etc.

    The counts (C, C) have true classes as rows. Classes without a sample are left out of the
    balanced and the worst-class accuracy.
    """
    hits, totals = confusion.diagonal().double(), confusion.sum(dim=1)
    recalls = (hits / totals)[totals > 0]
    return {
        f"{role}/accuracy": float(hits.sum() / totals.sum()),
        f"{role}/balanced_accuracy": float(recalls.mean()),
        f"{role}/worst_class_accuracy": float(recalls.min()),
    }


def top5_metrics(logits: Tensor, labels: Tensor, role: str) -> dict[str, float]:
    """Share of samples whose class is among the five likeliest, in [0, 1]: `<role>/top5_accuracy`.

    Takes logits (N, C) and labels (N,); empty for up to ten classes, where chance is one half.
    """
    if logits.shape[1] <= _MOST_CLASSES_WITHOUT_TOP5:
        return {}
    hits = (logits.topk(5, dim=1).indices == labels.unsqueeze(1)).any(dim=1)
    return {f"{role}/top5_accuracy": float(hits.double().mean())}


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve of `scores` (N,) as a detector of `positive` samples, bool (N,).

    The share of (positive, negative) pairs in which the positive one has the higher score, ties
    counted half, in [0, 1]; NaN where one of the two kinds is missing.
    """
    num_positive = int(positive.sum())
    pairs = num_positive * (len(positive) - num_positive)
    if not pairs:
        return math.nan
    ranks = _average_ranks(scores.cpu().numpy())[positive.cpu().numpy()]
    return float(ranks.sum() - num_positive * (num_positive + 1) / 2) / pairs


def expected_calibration_error(probs: Tensor, labels: Tensor) -> float:
    """Mean gap between confidence and accuracy, over 15 equally wide bins, in [0, 1]; 0 is best.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
    equation 3; a bin is open below and closed above. Takes probabilities (N, C) and labels (N,).
    """
    highest, predictions = probs.double().max(dim=1)
    # On the CPU: sums by bin have no deterministic form on CUDA.
    confidences, hits = highest.cpu(), (predictions == labels).cpu()
    bins = (confidences * _NUM_CALIBRATION_BINS).ceil().long().clamp(1, _NUM_CALIBRATION_BINS) - 1
    gaps = hits.double() - confidences
    sums = torch.bincount(bins, weights=gaps, minlength=_NUM_CALIBRATION_BINS)
    return float(sums.abs().sum()) / len(labels)


def shot_groups(class_counts: Tensor) -> dict[str, Tensor]:
    """Groups classes by their number of training samples: many, medium and few shot.

    Source of the thresholds: Liu, Miao, Zhan, Wang, Gong, Yu, "Large-Scale Long-Tailed Recognition
    in an Open World", CVPR 2019: more than 100, 20 to 100, fewer than 20. Where a group would be
    empty by them, the groups are thirds of the classes in the order of their size (ties by class
    number; of C classes, C // 3 are many-shot and C // 3 few-shot).

    Returns classes in the group, bool, shape (C,), by `many_shot`, `medium_shot`, `few_shot`;
    empty where the largest class has less than twice the samples of the smallest, or C < 3.
    """
    C = len(class_counts)
    if C < 3 or class_counts.max() < _SMALLEST_IMBALANCE * class_counts.min():
        return {}
    many, few = class_counts > _SHOT_THRESHOLDS[0], class_counts < _SHOT_THRESHOLDS[1]
    if not (many.any() and few.any() and (~many & ~few).any()):
        places = torch.empty_like(class_counts)
        order = torch.argsort(class_counts, descending=True, stable=True)
        places[order] = torch.arange(C, device=places.device)
        many, few = places < C // 3, places >= C - C // 3
    return {"many_shot": many, "medium_shot": ~many & ~few, "few_shot": few}


def shot_accuracies(confusion: Tensor, groups: dict[str, Tensor], role: str) -> dict[str, float]:
    """Mean accuracy of the classes of each of the `shot_groups`, by `test/many_shot_accuracy`.

    The matrix and the role are those of `accuracy_metrics`; classes without a sample are left out.
    """
    hits, totals = confusion.diagonal().double(), confusion.sum(dim=1)
    known = {name: classes & (totals > 0) for name, classes in groups.items()}
    return {
        f"{role}/{name}_accuracy": float((hits[classes] / totals[classes]).mean())
        for name, classes in known.items()
        if classes.any()
    }


def memorisation_metrics(predictions: Tensor, observed: Tensor, true: Tensor) -> dict[str, float]:
    """How far the classifier fits the labels of its training set, each in [0, 1].

    `memorisation/observed_fit_noisy`: share of the mislabelled samples that are classified as
    their wrong label; `memorisation/true_fit_noisy`: as their true label; and
    `memorisation/fit_clean`: share of the others that are classified correctly. Without such
    samples absent. Predictions and labels are int64, shape (N,).
    """
    noisy = observed != true
    hits = {
        "memorisation/observed_fit_noisy": (predictions == observed)[noisy],
        "memorisation/true_fit_noisy": (predictions == true)[noisy],
        "memorisation/fit_clean": (predictions == observed)[~noisy],
    }
    return {name: float(hit.double().mean()) for name, hit in hits.items() if len(hit)}


def margin_metrics(margins: Tensor, class_counts: Tensor) -> dict[str, float]:
    """How far the margins, in nats, differ, and whether they follow the class sizes.

    `margin/range`: largest less smallest margin; `margin/frequency_correlation`: Spearman's
    correlation with the samples per observed class, absent where one of the two is constant.
    """
    metrics = {"margin/range": float(margins.max() - margins.min())}
    correlation = spearman_correlation(margins, class_counts)
    if not math.isnan(correlation):
        metrics["margin/frequency_correlation"] = correlation
    return metrics


def spearman_correlation(first: Tensor, second: Tensor) -> float:
    """Correlation of the ranks, ties ranked by their mean, in [-1, 1]; NaN if one is constant."""
    ranks = torch.stack(
        [torch.from_numpy(_average_ranks(v.cpu().numpy())) for v in (first, second)]
    )
    centred = ranks - ranks.mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1)
    if not norms.all():
        return math.nan
    return float((centred[0] @ centred[1] / norms.prod()).clamp(-1, 1))


def _average_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 1, ties by their mean; NaN where a value is.

    As `scipy.stats.rankdata`, whose package takes each worker most of a second to import.
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return np.full_like(ranks, np.nan) if np.isnan(values).any() else ranks
