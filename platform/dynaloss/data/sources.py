"""Labelled images by name, as they are before any bias is put on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["SOURCES", "ImageArrays", "Source", "load_source"]


@dataclass(frozen=True, kw_only=True)
class ImageArrays:
    """Images and their true labels.

    Attributes:
        images: uint8, shape (N, channels, height, width).
        labels: Class indices in [0, C), int64, shape (N,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data source: the pool to train on and, where it has one, its own test set.

    Attributes:
        name: Its name in a study file.
        class_names: One per class.
        pool: Samples to train on; also those to test on if `test` is None.
        test: The source's own test set, or None where it has none.
        mean: Per channel, of images scaled to [0, 1].
        std: Per channel, likewise.
        crop_padding: Pixels of padding of the random crop in the strong view.
        flip: Whether a mirror image keeps its class.
    """

    name: str
    class_names: tuple[str, ...]
    pool: ImageArrays
    test: ImageArrays | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of an image."""
        channels, height, width = self.pool.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images and labels, hexadecimal."""
        content = hashlib.sha256()
        for part in (self.pool, self.test):
            if part is not None:
                content.update(str(part.images.shape).encode())
                content.update(np.ascontiguousarray(part.images).data)
                content.update(np.ascontiguousarray(part.labels).data)
        return content.hexdigest()


def _load_digits() -> Source:
    """scikit-learn's bundled digits: 1,797 real 8 x 8 images of ten classes, values 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[:, None] * (255 / 16)).round().astype(np.uint8)
    return Source(
        name="digits",
        class_names=tuple(str(name) for name in digits.target_names),
        pool=ImageArrays(images=images, labels=digits.target.astype(np.int64)),
        test=None,
        mean=(0.305,),
        std=(0.376,),
        crop_padding=1,
        flip=False,
    )


SOURCES: dict[str, Callable[[], Source]] = {"digits": _load_digits}


def load_source(name: str) -> Source:
    """Loads the source `name`, a key of `SOURCES`."""
    return SOURCES[name]()
