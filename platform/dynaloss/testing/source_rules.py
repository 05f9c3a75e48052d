"""The contract of a data source."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from dynaloss.data.sources import ImageArrays, Source, load_source, source_status
from dynaloss.data.sources.image_files import ImageFiles
from dynaloss.testing.parts import (
    Part,
    draws_from_its_generators,
    is_reproducible,
    keeps_its_settings,
    names_its_settings,
    resumes,
)
from dynaloss.testing.rules import Rule, rule
from dynaloss.testing.unchanged import equal

_TRAINED_PER_CLASS, _TESTED_PER_CLASS = 8, 2


class SourcePart(Part):
    """A data source."""

    @cached_property
    def loaded(self) -> Source:
        """What it loads."""
        return load_source(self.settings)

    def result(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - plain values and arrays
        """Everything that is loaded."""
        return _content(load_source(self.settings))


@rule("must load a `Source`")
def _loads(part: SourcePart) -> Iterator[str]:
    if not isinstance(part.loaded, Source):
        yield f"loaded a {type(part.loaded).__name__}"


@rule("must have images, uint8, channels first, and for each a label, int64, in [0, C)")
def _has_labelled_images(part: SourcePart) -> Iterator[str]:
    source = part.loaded
    for words, samples in _sets(source).items():
        images, labels = samples.images, samples.labels
        if not isinstance(images, ImageFiles) and images.dtype != np.uint8:
            yield f"{words} has images of type {images.dtype}"
        if len(images.shape) != 4 or tuple(images.shape[1:]) != source.input_shape:
            yield f"{words} has images of shape {tuple(images.shape)}"
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            yield f"{words} has labels of shape {labels.shape} and type {labels.dtype}"
        elif not ((labels >= 0) & (labels < source.num_classes)).all():
            yield (
                f"{words} has labels from {labels.min()} to {labels.max()} for "
                f"{source.num_classes} classes"
            )


@rule("must have two classes or more, each with a name of its own and an image to train on")
def _has_classes(part: SourcePart) -> Iterator[str]:
    names, labels = part.loaded.class_names, part.loaded.pool.labels
    if len(names) < 2 or len({*names}) < len(names):
        yield f"has {names}"
    empty = [f"'{name}'" for c, name in enumerate(names) if not (labels == c).any()]
    if empty:
        yield f"has no image of {', '.join(empty)}"


@rule("must have a finite mean and a positive standard deviation per channel")
def _has_statistics(part: SourcePart) -> Iterator[str]:
    mean, std = np.array(part.loaded.mean), np.array(part.loaded.std)
    is_per_channel = mean.shape == std.shape == part.loaded.input_shape[:1]
    if not (is_per_channel and np.isfinite([mean, std]).all() and (std > 0).all()):
        yield f"has {part.loaded.mean} and {part.loaded.std}"


@rule("must have one digest, before it is loaded and after")
def _has_one_digest(part: SourcePart) -> Iterator[str]:
    before, again = (source_status(part.settings).digest for _ in range(2))
    if before != again:
        yield f"two calls of `digest` gave '{before}' and '{again}'"
    elif before != part.loaded.digest:
        yield f"`digest` gave '{before}' and the source has '{part.loaded.digest}'"


@rule("must have a test set of its own, if `has_test_split` says so")
def _has_its_test_set(part: SourcePart) -> Iterator[str]:
    if part.settings.has_test_split and part.loaded.test is None:
        yield "has none"


@rule("must be picklable, as other processes are sent it")
def _is_picklable(part: SourcePart) -> Iterator[str]:
    sent = pickle.loads(pickle.dumps(part.loaded))
    if not equal(_content(sent), _content(part.loaded)):
        yield "something else came back"


@rule(resumes.text)
def _serves_a_trial(part: SourcePart) -> Iterator[str]:
    source = part.loaded
    pooled = _TRAINED_PER_CLASS + (0 if source.test else _TESTED_PER_CLASS)
    few = replace(
        source,
        pool=_first(source.pool, pooled),
        test=_first(source.test, _TESTED_PER_CLASS) if source.test else None,
        equal=None,
    )
    yield from resumes.findings(replace(part, source=few))


def _sets(source: Source) -> dict[str, ImageArrays]:
    """The pool, and the test set where there is one, by their words."""
    return {"the pool": source.pool, **({"the test set": source.test} if source.test else {})}


def _content(source: Source) -> Any:  # noqa: ANN401 - plain values and arrays
    """Everything in a source; of images in files, their names."""
    facts = [source.class_names, source.mean, source.std, source.crop_padding, source.flip]
    arrays = [
        (images.names if isinstance(images, ImageFiles) else images, samples.labels)
        for samples in _sets(source).values()
        for images in [samples.images]
    ]
    return [facts, source.digest, arrays]


def _first(samples: ImageArrays, number: int) -> ImageArrays:
    """The first samples of each class, so many of each."""
    chosen = np.zeros(len(samples.labels), dtype=bool)
    for label in np.unique(samples.labels):
        chosen[np.flatnonzero(samples.labels == label)[:number]] = True
    return samples.take(chosen)


SOURCE_STAGES: tuple[tuple[Rule[Any], ...], ...] = (
    (names_its_settings,),
    (_loads,),
    (_has_labelled_images, _has_classes, _has_statistics),
    (
        keeps_its_settings,
        draws_from_its_generators,
        is_reproducible,
        _has_one_digest,
        _has_its_test_set,
        _is_picklable,
    ),
    (_serves_a_trial,),
)
