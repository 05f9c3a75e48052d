"""Label noise as a transition matrix: its draw and its count. N: samples, C: classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
