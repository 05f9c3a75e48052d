"""From true labels to observed ones, by the kind of noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynaloss.data.bias.bias_settings import NOISE_KINDS, BiasSettings
from dynaloss.data.bias.imbalance import draw_observed_labels, symmetric_transition_matrix
from dynaloss.data.bias.label_files import read_observed_labels
from dynaloss.data.bias.noise import (
    asymmetric_transition_matrix,
    class_map,
    default_class_map,
    flip_labels,
    instance_labels,
    uniform_transition_matrix,
)
from dynaloss.data.sources.image_files import ImageFiles
from dynaloss.data.sources.source import Images, Source
from dynaloss.errors import InputError
from dynaloss.learning.streams import Streams

__all__ = ["check_noise", "observed_labels"]


def check_noise(source: Source, settings: BiasSettings) -> None:
    """Refuses noise that cannot be put on `source`, whatever the seed.

    Raises:
        InputError: If the label file or the class map does not fit, or the images are not at hand.
    """
    if settings.noise_kind == "file":
        _labels_of_file(source, settings)
    if settings.noise_kind == "instance":
        _in_memory(source.pool.images)
    if settings.noise_kind == "asymmetric":
        _class_map(source, settings)


def observed_labels(
    rows: NDArray[np.int64],
    settings: BiasSettings,
    source: Source,
    streams: Streams,
) -> NDArray[np.int64]:
    """Observed labels, int64, of the samples at `rows` of the pool, shape (N,)."""
    true, kind, rate = source.pool.labels[rows], settings.noise_kind, settings.noise_rate
    C = source.num_classes
    if kind == "file":
        return _labels_of_file(source, settings)[rows]
    if kind == "none" or rate == 0:
        return true.copy()
    rng = streams.numpy("noise")
    if kind == "flip":
        return flip_labels(true, C, rate, rng)
    if kind == "instance":
        images = _in_memory(source.pool.images)[rows]
        return instance_labels(images, true, C, rate, rng)
    return draw_observed_labels(true, _transition_matrix(true, source, settings), rng)


def _in_memory(images: Images) -> NDArray[np.uint8]:
    if isinstance(images, ImageFiles):
        raise InputError(
            "[data.noise.kind] 'instance' needs the images in memory: set [data.memory] to "
            "'resident', or a smaller [data.image_size]"
        )
    return images


def _transition_matrix(
    true: NDArray[np.int64], source: Source, settings: BiasSettings
) -> NDArray[np.float64]:
    match settings.noise_kind:
        case "symmetric":
            counts = np.bincount(true, minlength=source.num_classes)
            return symmetric_transition_matrix(counts, settings.noise_rate)
        case "uniform":
            return uniform_transition_matrix(source.num_classes, settings.noise_rate)
        case "asymmetric":
            return asymmetric_transition_matrix(_class_map(source, settings), settings.noise_rate)
    known = ", ".join(NOISE_KINDS)
    raise ValueError(f"`noise_kind` must be one of {known}, but got {settings.noise_kind}.")


def _class_map(source: Source, settings: BiasSettings) -> NDArray[np.int64]:
    if settings.noise_map is None:
        return default_class_map(source.class_names)
    return class_map(settings.noise_map, source.class_names)


def _labels_of_file(source: Source, settings: BiasSettings) -> NDArray[np.int64]:
    return read_observed_labels(
        settings.noise_path or "", settings.noise_key, source.pool.labels, source.num_classes
    )
