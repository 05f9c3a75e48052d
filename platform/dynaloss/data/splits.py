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
    step_counts,
    symmetric_transition_matrix,
    take_per_class,
)
from dynaloss.data.image_files import ImageFiles
from dynaloss.data.label_files import read_observed_labels
from dynaloss.data.noise import (
    asymmetric_transition_matrix,
    class_map,
    default_class_map,
    flip_labels,
    instance_labels,
    uniform_transition_matrix,
)
from dynaloss.data.source import Images, Source, shared_images
from dynaloss.errors import InputError
from dynaloss.learning.streams import Streams

__all__ = [
    "NOISE_KINDS",
    "BiasSettings",
    "LabelledImages",
    "TrialSplits",
    "check_bias",
    "make_splits",
]

NOISE_KINDS = ("none", "symmetric", "uniform", "flip", "asymmetric", "instance", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasSettings:
    """How the data of a trial is split and biased.

    Attributes:
        noise_kind: One of `NOISE_KINDS`.
        noise_rate: In [0, 1]; plays no part for `file`.
        noise_map: For `asymmetric`, see `class_map`; None for the usual map.
        noise_path: For `file`, see `read_observed_labels`.
        noise_key: Likewise.
        imbalance: `exponential`, `step` or `none`.
        imbalance_factor: n_max / n_min, at least 1.
        n_max: Samples of the largest class; None for as many as there are.
        test_fraction: Share of each class kept for testing if the source has no test set.
        validation_fraction: Share of each observed class of the biased pool kept for validation.
        validation_labels: `observed` or `clean`: the labels that validation is scored against.
    """

    noise_kind: str
    noise_rate: float
    noise_map: str | None
    noise_path: str | None
    noise_key: str | None
    imbalance: str
    imbalance_factor: float
    n_max: int | None
    test_fraction: float
    validation_fraction: float
    validation_labels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The samples of one role.

    Attributes:
        images: See `Images`.
        observed: Labels that training sees, or that an evaluation is scored against.
        true: Labels without noise.
        indices: Position of each sample in the part of the source that it is from.
    """

    images: Images
    observed: NDArray[np.int64]
    true: NDArray[np.int64]
    indices: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSplits:
    """The splits of a trial by role, and a record of what was done to the data.

    Attributes:
        train: The biased training set.
        validation: Taken from the biased pool, or None.
        test: Clean and as balanced as the source.
        record: Plain values: sizes, class counts, realised flip rate and transition matrix,
            digests of the tail and of the noise, number of training images that are in the
            test set, too.
    """

    train: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages
    record: dict[str, Any]


def make_splits(source: Source, settings: BiasSettings, streams: Streams) -> TrialSplits:
    """Splits and biases a source; each step draws from a stream of its own.

    Trials of one seed share the split, and those of one condition and seed the tail and noise.
    """
    in_test = _test_part(source, settings, streams)
    pool_rows = np.flatnonzero(~in_test)
    kept = _long_tail(source.pool.labels[pool_rows], settings, source, streams)
    rows = pool_rows[kept]
    images, true = source.pool.images[rows], source.pool.labels[rows]
    observed = _noisy(images, rows, settings, source, streams)
    test = source.test or source.pool.take(in_test)
    held_out = _held_out(observed, settings.validation_fraction, source, streams)
    train = LabelledImages(
        images=images[~held_out],
        observed=observed[~held_out],
        true=true[~held_out],
        indices=rows[~held_out],
    )
    validation = LabelledImages(
        images=images[held_out],
        observed=(observed if settings.validation_labels == "observed" else true)[held_out],
        true=true[held_out],
        indices=rows[held_out],
    )
    splits = TrialSplits(
        train=train,
        validation=validation if held_out.any() else None,
        test=LabelledImages(images=test.images, observed=test.labels, true=test.labels),
        record={},
    )
    splits.record.update(_record(source, splits, kept, observed))
    return splits


def check_bias(source: Source, settings: BiasSettings) -> None:
    """Refuses a bias that cannot be put on `source`, whatever the seed.

    Raises:
        InputError: If a class would be left without a sample, or the class map or the label
            file does not fit the source.
    """
    sizes = np.bincount(source.pool.labels, minlength=source.num_classes)
    if source.test is None:
        sizes = sizes - _test_sizes(sizes, settings)
    _class_sizes(sizes, settings, source)
    if settings.noise_kind == "file":
        _labels_of_file(source, settings)
    if settings.noise_kind == "instance":
        _in_memory(source.pool.images)
    if settings.noise_kind == "asymmetric":
        _class_map(source, settings)


def _test_sizes(sizes: NDArray[np.int64], settings: BiasSettings) -> NDArray[np.int64]:
    wanted: NDArray[np.int64] = np.rint(sizes * settings.test_fraction).astype(np.int64)
    return wanted


def _test_part(source: Source, settings: BiasSettings, streams: Streams) -> NDArray[np.bool_]:
    """Marks the samples of the pool that are kept for the test."""
    labels = source.pool.labels
    chosen = np.zeros(len(labels), dtype=bool)
    if source.test is None:
        sizes = np.bincount(labels, minlength=source.num_classes)
        wanted = _test_sizes(sizes, settings)
        chosen[take_per_class(labels, wanted, streams.numpy("split"))] = True
    return chosen


def _long_tail(
    labels: NDArray[np.int64], settings: BiasSettings, source: Source, streams: Streams
) -> NDArray[np.int64]:
    sizes = np.bincount(labels, minlength=source.num_classes)
    counts = _class_sizes(sizes, settings, source)
    return take_per_class(labels, counts, streams.numpy("tail"))


def _class_sizes(
    sizes: NDArray[np.int64], settings: BiasSettings, source: Source
) -> NDArray[np.int64]:
    """Samples wanted of each class, of which there are `sizes`."""
    counts_of = step_counts if settings.imbalance == "step" else long_tail_counts
    factor = 1.0 if settings.imbalance == "none" else settings.imbalance_factor
    counts = counts_of(settings.n_max or int(sizes.max()), source.num_classes, factor)
    empty = np.flatnonzero(np.minimum(sizes, counts) == 0)
    if len(empty):
        names = ", ".join(f"'{source.class_names[c]}' ({c})" for c in empty[:5])
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        missing = not sizes[empty].all()
        remedy = "it has none in the source" if missing else "lower [data.imbalance_factor]"
        raise InputError(
            f"[data.imbalance_factor] must leave every class a training image, "
            f"but {factor:g} leaves none of class {names}{more}: {remedy}"
        )
    return counts


def _noisy(
    images: Images,
    rows: NDArray[np.int64],
    settings: BiasSettings,
    source: Source,
    streams: Streams,
) -> NDArray[np.int64]:
    """Observed labels of the samples at `rows` of the pool."""
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
        return instance_labels(_in_memory(images), true, C, rate, rng)
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
        "shared_with_test": _shared(source, splits),
        "flip_rate": float((train.true != train.observed).mean()),
        "transition_matrix": realised_transition_matrix(train.true, train.observed, C).tolist(),
    }


def _shared(source: Source, splits: TrialSplits) -> int | None:
    """Number of images of the source's pool, or of the split, that are in the test, too."""
    if source.shared is not None:
        return source.shared
    files = isinstance(splits.train.images, ImageFiles)
    return None if files else shared_images(splits.train.images, splits.test.images)
