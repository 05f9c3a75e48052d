"""Uniform noise: a noisy label is drawn from all classes alike. C: number of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES, NoiseKind
from dynaloss.data.bias.transitions import draw_observed_labels
from dynaloss.data.sources.source import Source


def uniform_transition_matrix(num_classes: int, rate: float) -> NDArray[np.float64]:
    """T = (1 - r) I + r / C, shape (C, C): a hit label is any of the classes, its own too."""
    matrix: NDArray[np.float64] = (1 - rate) * np.eye(num_classes) + rate / num_classes
    return matrix


def _observe(
    noise: NoiseConfig, source: Source, rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    matrix = uniform_transition_matrix(source.num_classes, noise.rate)
    return draw_observed_labels(source.pool.labels[rows], matrix, rng)


NOISES.add(
    NoiseKind(
        name="uniform",
        description="a noisy label is drawn from all classes alike, and may be the true one",
        settings=NoiseConfig,
        observe=_observe,
    )
)
