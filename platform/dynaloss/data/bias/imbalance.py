"""Puts a long tail, then label noise, on a data set. C: number of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "draw_observed_labels",
    "long_tail_counts",
    "realised_transition_matrix",
    "step_counts",
    "symmetric_transition_matrix",
    "take_per_class",
]


def long_tail_counts(n_max: int, num_classes: int, imbalance_factor: float) -> NDArray[np.int64]:
    """Samples per class of the exponential long tail, largest class first, shape (C,).

    n_c = floor(n_max * f^(-c / (C - 1))), f = n_max / n_min. Source: arXiv 2211.12506 and Cui et
    al., "Class-Balanced Loss", CVPR 2019; the released code writes 1 / f.

    Args:
        n_max: Samples of the largest class.
        num_classes: At least 2.
        imbalance_factor: f, at least 1.
    """
    exponents = -np.arange(num_classes) / (num_classes - 1)
    # The small term keeps n_max / f on its integer where the power is one rounding below it.
    return np.floor(n_max * imbalance_factor**exponents + 1e-9).astype(np.int64)


def step_counts(n_max: int, num_classes: int, imbalance_factor: float) -> NDArray[np.int64]:
    """Samples per class of step imbalance, shape (C,): floor(n_max / f) from class C // 2 on.

    Source: Buda et al., Neural Networks 106, 2018, and Cao et al., LDAM, NeurIPS 2019.

    Args:
        n_max: Samples of each class of the first half.
        num_classes: At least 2.
        imbalance_factor: f = n_max / n_min, at least 1.
    """
    counts = np.full(num_classes, n_max, dtype=np.int64)
    counts[num_classes // 2 :] = int(n_max / imbalance_factor + 1e-9)
    return counts


def take_per_class(
    labels: NDArray[np.int64], counts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws up to `counts[c]` samples of each class c at random; returns ascending indices.

    Every class is put in a random order of its own and cut, so a smaller count gives a subset.
    """
    order = rng.permutation(len(labels))
    grouped = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels, minlength=len(counts))
    positions = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(grouped[positions < np.repeat(counts, sizes)])


def symmetric_transition_matrix(
    class_counts: NDArray[np.int64], rate: float
) -> NDArray[np.float64]:
    """T = (1 - r) I + r 1 p^T with p the class frequencies, shape (C, C).

    Noise kind `symmetric` (arXiv 2211.12506): a hit sample takes a label drawn by frequency,
    which may be its own, so fewer than r of the labels are wrong.

    Args:
        class_counts: Samples of each true class, shape (C,).
        rate: r in [0, 1].
    """
    frequencies = class_counts / class_counts.sum()
    matrix: NDArray[np.float64] = (1 - rate) * np.eye(len(class_counts)) + rate * frequencies
    return matrix


def draw_observed_labels(
    true_labels: NDArray[np.int64],
    transition_matrix: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draws an observed label for each sample from its row of the transition matrix.

    Args:
        true_labels: int64, shape (N,).
        transition_matrix: T[i, j] in proportion to P(observed j | true i), shape (C, C).
        rng: Random stream; one number a sample, so a higher rate of `symmetric` noise on the
            same stream changes other labels, too.
    """
    cumulative = np.cumsum(transition_matrix, axis=1)
    draws = rng.random(len(true_labels)) * cumulative[true_labels, -1]
    observed: NDArray[np.int64] = (draws[:, None] >= cumulative[true_labels]).sum(
        axis=1, dtype=np.int64
    )
    return observed


def realised_transition_matrix(
    true_labels: NDArray[np.int64], observed_labels: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Shares of observed labels by true class, as counted, shape (C, C); rows sum to 1.

    The row of a class without a sample is that of no noise.
    """
    counts: NDArray[np.float64] = np.zeros((num_classes, num_classes))
    np.add.at(counts, (true_labels, observed_labels), 1)
    empty = counts.sum(axis=1) == 0
    counts[empty] = np.eye(num_classes)[empty]
    counts /= counts.sum(axis=1, keepdims=True)
    return counts
