"""What a data source is: labelled images, as they are before any bias is put on them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from dynaloss.config.data import SourceSettings
from dynaloss.data.arrays import Bools, Bytes, Ints
from dynaloss.data.sources.image_files import ImageFiles
from dynaloss.errors import InputError

Images = Bytes | ImageFiles
"""Images in memory, uint8, shape (N, channels, height, width), or files to read them from."""


_PART = 1024  # images whose pixels are held as floats at a time


class DataNotFound(InputError):  # noqa: N818 - a state that planning handles
    """The files of a source are missing; the message names what to fetch, and the place for it."""


def data_folder(settings: SourceSettings, fetch: str) -> Path:
    """The folder `root` of a source.

    Raises:
        DataNotFound: If `root` is not given or does not exist; `fetch` is what it asks to fetch.
    """
    if settings.root is None:
        raise DataNotFound(
            f"[data.root] must be given for source '{settings.source}': fetch "
            f"{fetch}, and give the folder that holds it"
        )
    return existing(Path(settings.root), settings, fetch)


def existing(path: Path, settings: SourceSettings, fetch: str) -> Path:
    """`path` itself.

    Raises:
        DataNotFound: If it does not exist; see `data_folder`.
    """
    if not path.exists():
        raise DataNotFound(
            f"[data.root] data not found for source '{settings.source}': '{path}' does not exist; "
            f"fetch {fetch} and put it there, or name what is there by data.train and data.test"
        )
    return path


MOST_CLASSES = 100_000
"""More than any data set has: a larger label is a mistake, and names would fill the memory."""


@dataclass(frozen=True, kw_only=True)
class ImageArrays:
    """Images and their true labels.

    Attributes:
        images: See `Images`.
        labels: Class indices in [0, C), int64, shape (N,).
    """

    images: Images
    labels: Ints

    def take(self, chosen: Bools) -> ImageArrays:
        """The samples that `chosen` marks."""
        return ImageArrays(images=self.images[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data source: the pool to train on and, where it has one, its own test set.

    Attributes:
        name: Its name in a study file.
        class_names: One per class.
        pool: Samples to train on; also those to test on if `test` is None.
        test: The source's own test set, or None where it has none.
        more_tests: Number of images of each further test set, by name: the last ones of `test`.
        mean: Per channel, of images scaled to [0, 1].
        std: Per channel, likewise, of all pixels.
        crop_padding: Pixels of padding of the random crop in the strong view.
        flip: Whether a mirror image keeps its class.
        content_digest: Digest of the files; None takes that of the arrays.
        equal: Groups of equal images, by position in the pool and then the test; None finds them
            at first use.
        statistics: Which standard deviation images are divided by where the trial names none:
            `pixels` or `images`.
        image_std: Mean over the pool's images of the standard deviation within each, per channel;
            None computes it at first use.
    """

    name: str
    class_names: tuple[str, ...]
    pool: ImageArrays
    test: ImageArrays | None
    more_tests: Mapping[str, int] = field(default_factory=dict)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool
    content_digest: str | None = None
    equal: tuple[tuple[int, ...], ...] | None = None
    statistics: Literal["pixels", "images"] = "pixels"
    image_std: tuple[float, ...] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def test_sets(self) -> dict[str, ImageArrays]:
        """The source's own test sets by role, `test` first, then `test_NAME`."""
        if self.test is None:
            return {}
        sizes = {f"test_{name}": size for name, size in self.more_tests.items()}
        sizes = {"test": len(self.test.labels) - sum(sizes.values()), **sizes}
        ends = np.cumsum([*sizes.values()])
        sets = np.searchsorted(ends, np.arange(ends[-1]), side="right")
        return {role: self.test.take(sets == number) for number, role in enumerate(sizes)}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of an image."""
        channels, height, width = self.pool.images.shape[1:]
        return channels, height, width

    def named(self, classes: Ints) -> str:
        """The classes by name and number, the first five of them."""
        names = ", ".join(f"'{self.class_names[c]}' ({c})" for c in classes[:5])
        return f"{names} and {len(classes) - 5} more" if len(classes) > 5 else names

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images and labels, or of their files, hexadecimal."""
        if self.content_digest is not None:
            return self.content_digest
        content = hashlib.sha256()
        for part in filter(None, (self.pool, self.test)):
            content.update(str(part.images.shape).encode())
            content.update(np.ascontiguousarray(part.images).data)
            content.update(np.ascontiguousarray(part.labels).data)
        return content.hexdigest()

    @cached_property
    def std_of_images(self) -> tuple[float, ...]:
        """See `image_std`; of images in files `std`, since no image is read for it."""
        if self.image_std is not None:
            return self.image_std
        images = self.pool.images
        if isinstance(images, ImageFiles):
            return self.std
        parts = np.array_split(images, max(1, len(images) // _PART))
        total = sum((part / 255).std(axis=(2, 3), ddof=1).sum(axis=0) for part in parts)
        return tuple(max(round(float(std), 4), 1e-3) for std in total / len(images))

    @cached_property
    def image_ids(self) -> Ints:
        """Per image of the pool and then the test, the position of the first that equals it."""
        parts = [part.images for part in (self.pool, self.test) if part is not None]
        ids = np.arange(sum(map(len, parts)))
        equal = self.equal
        if equal is None:
            equal = equal_entries([digest for part in parts for digest in _digests(part)])
        for group in equal:
            ids[list(group)] = group[0]
        return ids


def equal_entries(entries: Sequence[Hashable]) -> tuple[tuple[int, ...], ...]:
    """Positions of equal entries, a group each, in order of their first."""
    groups: dict[Hashable, list[int]] = {}
    for position, entry in enumerate(entries):
        groups.setdefault(entry, []).append(position)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _digests(images: Images) -> Sequence[Hashable]:
    if isinstance(images, ImageFiles):
        return images.digests()
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
