"""Flip noise: exactly this share of the labels changes. N: number of samples."""

from __future__ import annotations

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Ints
from dynaloss.data.bias.transitions import draw_observed_labels
from dynaloss.data.sources.source import Source
from dynaloss.errors import InputError


def flip_labels(
    true_labels: Ints, num_classes: int, rate: float, rng: np.random.Generator
) -> Ints:
    """Changes the class of exactly floor(r N) samples, by frequency among the other classes."""
    # The small term keeps r N on its integer where the product is one rounding below it.
    number = int(np.floor(rate * len(true_labels) + 1e-9))
    chosen = rng.permutation(len(true_labels))[:number]
    true = true_labels[chosen]
    weights = np.tile(np.bincount(true_labels, minlength=num_classes), (num_classes, 1))
    np.fill_diagonal(weights, 0)
    if not weights[true].any(axis=1).all():
        raise InputError("[data.noise.kind] 'flip' needs images of at least 2 classes")
    observed = true_labels.copy()
    observed[chosen] = draw_observed_labels(true, weights.astype(np.float64), rng)
    return observed


def _observe(noise: NoiseConfig, source: Source, rows: Ints, rng: np.random.Generator) -> Ints:
    return flip_labels(source.pool.labels[rows], source.num_classes, noise.rate, rng)


NOISES.add(
    name="flip",
    description="exactly floor(rate N) of N labels change, by frequency of the other classes",
    source="RoLT, arXiv 2108.11569",
    settings=NoiseConfig,
    observe=_observe,
)
