"""From a source to the splits of a trial: test, long tail, noise, validation, in this order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaloss.data.bias import (
    draw_observed_labels,
    long_tail_counts,
    realised_transition_matrix,
    symmetric_transition_matrix,
    take_per_class,
)
from dynaloss.data.sources import ImageArrays, Source
from dynaloss.learning.streams import Streams

__all__ = ["BiasSettings", "LabelledImages", "TrialSplits", "make_splits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasSettings:
    """How the data of a trial is split and biased.

    Attributes:
        noise_kind: `none` or `symmetric`.
        noise_rate: In [0, 1].
        imbalance_factor: n_max / n_min, at least 1.
        n_max: Samples of the largest class; None for as many as there are.
        test_fraction: Share of each class kept for testing if the source has no test set.
        validation_fraction: Share of each observed class of the biased pool kept for validation.
        validation_labels: `observed` or `clean`: the labels that validation is scored against.
    """

    noise_kind: str
    noise_rate: float
    imbalance_factor: float
    n_max: int | None
    test_fraction: float
    validation_fraction: float
    validation_labels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The samples of one role.

    Attributes:
        images: uint8, shape (N, channels, height, width).
        observed: Labels that training sees, or that an evaluation is scored against.
        true: Labels without noise.
    """

    images: NDArray[np.uint8]
    observed: NDArray[np.int64]
    true: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSplits:
    """The splits of a trial by role, and a record of what was done to the data.

    Attributes:
        train: The biased training set.
        validation: Taken from the biased pool, or None.
        test: Clean and as balanced as the source.
        record: Plain values: sizes, class counts, realised flip rate and transition matrix,
            digests of the tail and of the noise.
    """

    train: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages
    record: dict[str, Any]


def make_splits(source: Source, settings: BiasSettings, streams: Streams) -> TrialSplits:
    """Splits and biases a source; each step draws from a stream of its own.

    Trials of one seed share the split, and those of one condition and seed the tail and noise.
    """
    pool, test = _test_split(source, settings, streams)
    kept = _long_tail(pool.labels, settings, source.num_classes, streams)
    images, true = pool.images[kept], pool.labels[kept]
    observed = _noisy(true, settings, source.num_classes, streams)
    held_out = _held_out(observed, settings.validation_fraction, source, streams)
    train = LabelledImages(
        images=images[~held_out], observed=observed[~held_out], true=true[~held_out]
    )
    validation = LabelledImages(
        images=images[held_out],
        observed=(observed if settings.validation_labels == "observed" else true)[held_out],
        true=true[held_out],
    )
    splits = TrialSplits(
        train=train,
        validation=validation if held_out.any() else None,
        test=LabelledImages(images=test.images, observed=test.labels, true=test.labels),
        record={},
    )
    splits.record.update(_record(source, splits, kept, observed))
    return splits


def _test_split(
    source: Source, settings: BiasSettings, streams: Streams
) -> tuple[ImageArrays, ImageArrays]:
    if source.test is not None:
        return source.pool, source.test
    labels = source.pool.labels
    sizes = np.bincount(labels, minlength=source.num_classes)
    wanted = np.rint(sizes * settings.test_fraction).astype(np.int64)
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[take_per_class(labels, wanted, streams.numpy("split"))] = True
    return (
        ImageArrays(images=source.pool.images[~chosen], labels=labels[~chosen]),
        ImageArrays(images=source.pool.images[chosen], labels=labels[chosen]),
    )


def _long_tail(
    labels: NDArray[np.int64], settings: BiasSettings, num_classes: int, streams: Streams
) -> NDArray[np.int64]:
    n_max = settings.n_max or int(np.bincount(labels).max())
    counts = long_tail_counts(n_max, num_classes, settings.imbalance_factor)
    return take_per_class(labels, counts, streams.numpy("tail"))


def _noisy(
    labels: NDArray[np.int64], settings: BiasSettings, num_classes: int, streams: Streams
) -> NDArray[np.int64]:
    if settings.noise_kind == "none" or settings.noise_rate == 0:
        return labels.copy()
    counts = np.bincount(labels, minlength=num_classes)
    matrix = symmetric_transition_matrix(counts, settings.noise_rate)
    return draw_observed_labels(labels, matrix, streams.numpy("noise"))


def _held_out(
    observed: NDArray[np.int64], fraction: float, source: Source, streams: Streams
) -> NDArray[np.bool_]:
    """Marks the samples of the validation split, stratified by observed label."""
    sizes = np.bincount(observed, minlength=source.num_classes)
    wanted = np.rint(sizes * fraction).astype(np.int64)
    marked = np.zeros(len(observed), dtype=bool)
    marked[take_per_class(observed, wanted, streams.numpy("validation"))] = True
    return marked


def _record(
    source: Source, splits: TrialSplits, kept: NDArray[np.int64], observed: NDArray[np.int64]
) -> dict[str, Any]:
    train, C = splits.train, source.num_classes
    return {
        "source": source.name,
        "digest": source.digest,
        "tail_digest": hashlib.sha256(kept.tobytes()).hexdigest(),
        "noise_digest": hashlib.sha256(observed.tobytes()).hexdigest(),
        "class_names": list(source.class_names),
        "splits": {
            "train": len(train.true),
            "validation": 0 if splits.validation is None else len(splits.validation.true),
            "test": len(splits.test.true),
        },
        "true_class_counts": np.bincount(train.true, minlength=C).tolist(),
        "observed_class_counts": np.bincount(train.observed, minlength=C).tolist(),
        "flip_rate": float((train.true != train.observed).mean()),
        "transition_matrix": realised_transition_matrix(train.true, train.observed, C).tolist(),
    }
