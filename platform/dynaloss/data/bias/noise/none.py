"""No noise: every label stays as it is, whatever the rate."""

from __future__ import annotations

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Ints
from dynaloss.data.sources.source import Source


def _observe(_: NoiseConfig, source: Source, rows: Ints, __: np.random.Generator) -> Ints:
    return source.pool.labels[rows]


NOISES.add(
    name="none",
    description="labels stay as they are, whatever the rate",
    settings=NoiseConfig,
    observe=_observe,
    uses=(),
)
