"""Data sources by name: what they hold, whether it is there, and its digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dynaloss.config.plugins import GROUP, user_sources
from dynaloss.data.sources.cifar import cifar_digest, load_cifar
from dynaloss.data.sources.image_trees import image_digest, load_images
from dynaloss.data.sources.parquet import load_parquet, parquet_digest
from dynaloss.data.sources.source import DataNotFound, ImageArrays, Source, SourceSettings
from dynaloss.errors import InputError

__all__ = [
    "SOURCES",
    "DataNotFound",
    "ImageArrays",
    "Source",
    "SourceKind",
    "SourceSettings",
    "SourceStatus",
    "load_source",
    "source_status",
]


@dataclass(frozen=True, slots=True)
class SourceKind:
    """How a source is read.

    Attributes:
        load: Reads it whole.
        digest: Digest of its content, without decoding it.
        ignores: Settings that mean nothing to it, and are refused.
    """

    load: Callable[[SourceSettings], Source]
    digest: Callable[[SourceSettings], str]
    ignores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """Whether the data of a source are there.

    Attributes:
        digest: Digest of its content, or a placeholder that no content has.
        missing: What to fetch and where to put it; None where the data are there.
    """

    digest: str
    missing: str | None


def _load_digits(settings: SourceSettings) -> Source:
    """scikit-learn's bundled digits: 1,797 real 8 x 8 images of ten classes, values 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[:, None] * (255 / 16)).round().astype(np.uint8)
    return Source(
        name=settings.name,
        class_names=tuple(str(name) for name in digits.target_names),
        pool=ImageArrays(images=images, labels=digits.target.astype(np.int64)),
        test=None,
        mean=(0.305,),
        std=(0.376,),
        crop_padding=1,
        flip=False,
    )


SOURCES: Mapping[str, SourceKind] = {
    "digits": SourceKind(
        _load_digits,
        lambda settings: _load_digits(settings).digest,
        ("train", "test", "image_size", "num_classes"),
    ),
    "cifar10": SourceKind(load_cifar, cifar_digest, ("train", "test", "image_size")),
    "cifar100": SourceKind(load_cifar, cifar_digest, ("train", "test", "image_size")),
    "parquet": SourceKind(load_parquet, parquet_digest),
    "image_folder": SourceKind(load_images, image_digest),
    "image_list": SourceKind(load_images, image_digest),
    "animal10n": SourceKind(load_images, image_digest),
}


def load_source(settings: SourceSettings) -> Source:
    """Loads a source; decodes or downloads where that has to be.

    Raises:
        DataNotFound: If its files are missing.
        InputError: If they cannot be read, or there is no such source.
    """
    kind = _kind_of(settings)
    source = kind.load(settings) if kind else _load_user_source(settings)
    # Found once here: it goes with the source to the processes of the trials.
    source.image_ids  # noqa: B018
    return source


def source_status(settings: SourceSettings) -> SourceStatus:
    """Whether the data of a source are there, and their digest; decodes nothing.

    Raises:
        InputError: If the files are there but cannot be read, or there is no such source.
    """
    kind = _kind_of(settings)
    try:
        digest = kind.digest(settings) if kind else _load_user_source(settings).digest
    except DataNotFound as error:
        return SourceStatus(digest=f"missing:{settings.name}", missing=str(error))
    return SourceStatus(digest=digest, missing=None)


def _kind_of(settings: SourceSettings) -> SourceKind | None:
    """How a source of our own is read; None for that of another package."""
    kind = SOURCES.get(settings.name)
    given = [
        name for name in (kind.ignores if kind else ()) if getattr(settings, name) is not None
    ]
    if given:
        raise InputError([f"[data.{n}] is not a setting of '{settings.name}'" for n in given])
    return kind


def _load_user_source(settings: SourceSettings) -> Source:
    entry = user_sources().get(settings.name)
    if entry is None:
        known = ", ".join([*SOURCES, *user_sources()])
        raise InputError(f"[data.source] must be one of {known}, but got '{settings.name}'")
    source = entry.load()(settings)
    if not isinstance(source, Source):
        raise InputError(
            f"entry point '{settings.name}' of group '{GROUP}' must return a "
            f"dynaloss.data.sources.Source, but returned {type(source).__name__}"
        )
    return source
