"""Uniform noise: a noisy label is drawn from all classes alike. C: number of classes."""

from __future__ import annotations

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Floats, Ints
from dynaloss.data.bias.transitions import draw_observed_labels
from dynaloss.data.sources.source import Source


def uniform_transition_matrix(num_classes: int, rate: float) -> Floats:
    """T = (1 - r) I + r / C, shape (C, C): a hit label is any of the classes, its own too."""
    matrix: Floats = (1 - rate) * np.eye(num_classes) + rate / num_classes
    return matrix


def _observe(noise: NoiseConfig, source: Source, rows: Ints, rng: np.random.Generator) -> Ints:
    matrix = uniform_transition_matrix(source.num_classes, noise.rate)
    return draw_observed_labels(source.pool.labels[rows], matrix, rng)


NOISES.add(
    name="uniform",
    description="a noisy label is drawn from all classes alike, and may be the true one",
    settings=NoiseConfig,
    observe=_observe,
)
