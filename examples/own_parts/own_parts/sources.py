"""A data source with settings of its own: made-up images, the same ones every time."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from dynaloss.config import DataConfig
from dynaloss.config.families import SourceKind
from dynaloss.config.settings import Real
from dynaloss.data.sources import ImageArrays, Source

_SIDE = 8
_CLASSES = 4


class StripesConfig(DataConfig):
    """Settings of the source beside those of `data`; `source` is filled in."""

    num_images: int = Field(default=600, ge=_CLASSES, description="Images of all classes.")
    contrast: Real = Field(default=0.4, gt=0, le=1, description="Of the stripes, in (0, 1].")


def load(settings: StripesConfig) -> Source:
    """Grey images of 8 x 8 pixels: stripes of an angle that the class gives, in random noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(settings.num_images, dtype=np.int64) % _CLASSES
    angles, phases = labels * np.pi / _CLASSES, rng.uniform(0, 2 * np.pi, len(labels))
    y, x = np.mgrid[:_SIDE, :_SIDE]
    along = np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y
    stripes = np.sin(1.6 * along + phases[:, None, None])
    grey = 128 + 127 * (settings.contrast * stripes + rng.normal(0, 0.3, stripes.shape))
    return Source(
        name="stripes",
        class_names=("vertical", "rising", "horizontal", "falling"),
        pool=ImageArrays(images=grey.clip(0, 255).astype(np.uint8)[:, None], labels=labels),
        test=None,
        mean=(0.5,),
        std=(0.25,),
        crop_padding=1,
        flip=False,
    )


STRIPES = SourceKind(
    name="stripes",
    description="made-up stripes of four angles",
    settings=StripesConfig,
    load=load,
    digest=lambda settings: load(settings).digest,
    ignores=("root", "train", "test", "image_size", "num_classes"),
    has_test_split=False,
)
