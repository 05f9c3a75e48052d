"""Symmetric noise: a noisy label is drawn by class frequency. C: number of classes."""

from __future__ import annotations

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Floats, Ints
from dynaloss.data.bias.transitions import draw_observed_labels
from dynaloss.data.sources.source import Source


def symmetric_transition_matrix(class_counts: Ints, rate: float) -> Floats:
    """T = (1 - r) I + r 1 p^T with p the class frequencies, shape (C, C).

    A noisy label is drawn by class frequency, and may be the true one, so fewer than r of the
    labels are wrong.
    """
    frequencies = class_counts / class_counts.sum()
    matrix: Floats = (1 - rate) * np.eye(len(class_counts)) + rate * frequencies
    return matrix


def _observe(noise: NoiseConfig, source: Source, rows: Ints, rng: np.random.Generator) -> Ints:
    labels = source.pool.labels[rows]
    counts = np.bincount(labels, minlength=source.num_classes)
    return draw_observed_labels(labels, symmetric_transition_matrix(counts, noise.rate), rng)


NOISES.add(
    name="symmetric",
    description="a noisy label is drawn by class frequency, and may be the true one",
    source="arXiv 2211.12506",
    settings=NoiseConfig,
    observe=_observe,
)
