"""Label noise as a transition matrix: its draw and its count. N: samples, C: classes."""

from __future__ import annotations

import numpy as np

from dynaloss.data.arrays import Floats, Ints


def draw_observed_labels(
    true_labels: Ints, transition_matrix: Floats, rng: np.random.Generator
) -> Ints:
    """Draws an observed label for each sample from its row of the transition matrix.

    T[i, j] is in proportion to P(observed j | true i), shape (C, C). One number is drawn a sample,
    so a higher rate of `symmetric` noise on the same stream changes other labels, too.
    """
    cumulative = np.cumsum(transition_matrix, axis=1)
    draws = rng.random(len(true_labels)) * cumulative[true_labels, -1]
    observed: Ints = (draws[:, None] >= cumulative[true_labels]).sum(axis=1, dtype=np.int64)
    return observed


def realised_transition_matrix(
    true_labels: Ints, observed_labels: Ints, num_classes: int
) -> Floats:
    """Shares of observed labels by true class, as counted, shape (C, C); rows sum to 1.

    The row of a class without a sample is that of no noise.
    """
    counts: Floats = np.zeros((num_classes, num_classes))
    np.add.at(counts, (true_labels, observed_labels), 1)
    empty = counts.sum(axis=1) == 0
    counts[empty] = np.eye(num_classes)[empty]
    counts /= counts.sum(axis=1, keepdims=True)
    return counts
