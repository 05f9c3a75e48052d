"""Instance-dependent noise: which class is mistaken for which depends on the image."""

from __future__ import annotations

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Bytes, Floats, Ints
from dynaloss.data.sources.image_files import ImageFiles
from dynaloss.data.sources.source import Source
from dynaloss.errors import InputError

# Spread of the flip rate over samples in Xia et al., NeurIPS 2020.
_STD = 0.1


def instance_labels(
    images: Bytes, true_labels: Ints, num_classes: int, rate: float, rng: np.random.Generator
) -> Ints:
    """Labels that depend on the image: part-dependent noise of Xia et al., NeurIPS 2020.

    Each sample has a flip rate q from a normal around r (standard deviation 0.1), cut to [0, 1].
    Each class has a random projection of the flattened image to C scores; q times the softmax of
    the scores of the other classes is the law of the flip. Deviation: images, uint8, shape
    (N, channels, height, width), are scaled to [0, 1].
    """
    rates = _truncated_normal(rate, len(true_labels), rng)
    draws = rng.random(len(true_labels))
    observed, num_pixels = true_labels.copy(), int(np.prod(images.shape[1:]))
    for label in range(num_classes):
        rows = np.flatnonzero(true_labels == label)
        flat = images[rows].reshape(len(rows), num_pixels).astype(np.float64) / 255
        scores = flat @ rng.standard_normal((num_pixels, num_classes))
        scores[:, label] = -np.inf
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        law = rates[rows, None] * scores / scores.sum(axis=1, keepdims=True)
        law[:, label] = 1 - rates[rows]
        cumulative = np.cumsum(law, axis=1)
        hits = draws[rows, None] * cumulative[:, -1:] >= cumulative
        observed[rows] = hits.sum(axis=1)
    return observed


def _truncated_normal(mean: float, size: int, rng: np.random.Generator) -> Floats:
    values = rng.normal(mean, _STD, size)
    while (outside := (values < 0) | (values > 1)).any():
        values[outside] = rng.normal(mean, _STD, int(outside.sum()))
    return values


def _observe(noise: NoiseConfig, source: Source, rows: Ints, rng: np.random.Generator) -> Ints:
    images, labels = _images(noise, source)[rows], source.pool.labels[rows]
    return instance_labels(images, labels, source.num_classes, noise.rate, rng)


def _images(_: NoiseConfig, source: Source) -> Bytes:
    if isinstance(source.pool.images, ImageFiles):
        raise InputError(
            "[data.noise.kind] 'instance' needs the images in memory: set [data.memory] to "
            "'resident', or a smaller [data.image_size]"
        )
    return source.pool.images


NOISES.add(
    name="instance",
    description="flip rate and noisy label, never the true one, depend on the image",
    source="Xia et al., NeurIPS 2020",
    settings=NoiseConfig,
    observe=_observe,
    check=_images,
    is_costly=True,
)
