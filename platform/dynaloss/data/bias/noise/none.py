"""No noise: every label stays as it is, whatever the rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES, NoiseKind
from dynaloss.data.sources.source import Source


def _observe(
    _: NoiseConfig, source: Source, rows: NDArray[np.int64], __: np.random.Generator
) -> NDArray[np.int64]:
    return source.pool.labels[rows]


NOISES.add(
    NoiseKind(
        name="none",
        description="labels stay as they are, whatever the rate",
        settings=NoiseConfig,
        observe=_observe,
        uses=(),
    )
)
