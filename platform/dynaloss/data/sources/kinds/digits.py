"""scikit-learn's bundled digits: 1,797 real 8 x 8 images of ten classes, values 0 to 16."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES
from dynaloss.data.digests import values_digest
from dynaloss.data.sources.cache import Decoded, cached_decoding
from dynaloss.data.sources.source import ImageArrays, Source


def _decode() -> Decoded:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[:, None] * (255 / 16)).round().astype(np.uint8)
    return Decoded(arrays={"images": images, "labels": digits.target.astype(np.int64)})


def _load(settings: SourceSettings) -> Source:
    try:  # as scikit-learn takes a second to import
        content = values_digest(["digits", version("scikit-learn")])
        arrays = cached_decoding(content, _decode).arrays
    except (OSError, ValueError):  # a home that cannot be written to, or a damaged file
        arrays = _decode().arrays
    return Source(
        name=settings.source,
        class_names=tuple(map(str, range(10))),
        pool=ImageArrays(images=np.array(arrays["images"]), labels=np.array(arrays["labels"])),
        test=None,
        mean=(0.305,),
        std=(0.376,),
        crop_padding=1,
        flip=False,
    )


SOURCES.add(
    name="digits",
    description="1,797 real 8 x 8 images of ten digits, part of scikit-learn: no download",
    load=_load,
    digest=lambda settings: _load(settings).digest,
    ignores=("train", "test", "more_tests", "image_size", "num_classes"),
    has_test_split=False,
)
