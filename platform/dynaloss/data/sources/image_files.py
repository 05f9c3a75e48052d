"""Images read from their files on demand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dynaloss.data.arrays import Bools, Bytes, Ints
from dynaloss.data.digests import file_digest
from dynaloss.errors import InputError

RESIDENT_BYTES = 4 << 30
"""Decoded images up to this size are kept on the device where `memory` is `auto`."""

# Images for evaluation are cut from the middle 7/8, as is usual for ImageNet (256 to 224).
EVALUATION_MARGIN = 8 / 7

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Colour images in files.

    Attributes:
        root: Folder of the files.
        names: Path of each below `root`, shape (N,).
        size: Side in pixels of the square that is cut from an image.
    """

    root: str
    names: NDArray[np.str_]
    size: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape (N, channels, height, width) of the images when decoded."""
        return len(self.names), 3, self.size, self.size

    @property
    def nbytes(self) -> int:
        """Bytes of the images when decoded."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, chosen: Ints | Bools) -> ImageFiles:
        return ImageFiles(self.root, self.names[chosen], self.size)

    def open(self, position: int) -> Image.Image:
        """The image at `position`, in colour and whole.

        Raises:
            InputError: If the file cannot be read as an image.
        """
        path = Path(self.root, str(self.names[position]))
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except Exception as error:  # a damaged image can raise anything
            raise InputError(f"'{path}' cannot be read as an image: fetch it again") from error

    def decoded(self, position: int) -> Bytes:
        """The middle square of an image, uint8, shape (3, size, size)."""
        return as_planes(centre_crop(self.open(position), self.size))

    def decoded_whole(self) -> Bytes:
        """The middle square of every image, uint8, of shape `shape`."""
        images = np.empty(self.shape, dtype=np.uint8)

        def put(position: int) -> None:
            images[position] = self.decoded(position)

        in_threads(put, range(len(self)))
        return images

    def digests(self) -> list[str]:
        """Digest of the content of each file, hexadecimal."""
        return in_threads(file_digest, [Path(self.root, str(name)) for name in self.names])


def centre_crop(image: Image.Image, size: int, margin: float = 1.0) -> Image.Image:
    """The middle square of side `size` after the shorter side became `margin * size` pixels."""
    shorter = round(size * margin)
    if min(image.size) != shorter:
        scale = shorter / min(image.size)
        width, height = (max(shorter, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in image.size)
    return image.crop((left, top, left + size, top + size))


def as_planes(image: Image.Image) -> Bytes:
    """Pixels of an image, uint8, shape (channels, height, width)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """`function` of every item, in order, on as many threads as there are cores, at most 16."""
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))
