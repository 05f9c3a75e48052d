from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dynaloss.data.sources import ImageArrays, Source


def _arrays(first: int, sizes: tuple[int, ...]) -> ImageArrays:
    """Images numbered from `first` on, the number in their two pixels."""
    labels = np.random.default_rng(first).permutation(np.repeat(np.arange(len(sizes)), sizes))
    numbers = np.arange(first, first + len(labels))
    images = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
    return ImageArrays(images=images.reshape(-1, 1, 1, 2), labels=labels.astype(np.int64))


def _source(
    sizes: tuple[int, ...] = (100, 90, 80, 70), test: bool = False, **changes: Any
) -> Source:
    fields: dict[str, Any] = {
        "name": "numbered",
        "class_names": tuple("abcdefghij"[: len(sizes)]),
        "pool": _arrays(0, sizes),
        "test": _arrays(10_000, (5,) * len(sizes)) if test else None,
        "mean": (0.5,),
        "std": (0.25,),
        "crop_padding": 1,
        "flip": False,
    }
    return Source(**(fields | changes))


@pytest.fixture
def make_source() -> Callable[..., Source]:
    """A source of numbered images: class sizes, own test set, any field."""
    return _source
