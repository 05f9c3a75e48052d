"""A kind of label noise with a setting of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dynaloss.config import NoiseConfig
from dynaloss.config.families import NoiseKind
from dynaloss.data.sources import Source


class NeighbourConfig(NoiseConfig):
    """Settings of the noise; `kind` is filled in."""

    reach: int = Field(default=1, ge=1, description="How far a label moves, in classes.")


def observe(
    noise: NeighbourConfig, source: Source, rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Observed labels: with probability `rate`, the true class plus `reach`, modulo C."""
    is_moved = rng.random(len(rows)) < noise.rate
    return (source.pool.labels[rows] + noise.reach * is_moved) % source.num_classes


NEIGHBOUR = NoiseKind(
    name="neighbour",
    description="a noisy label is a class a few numbers further on",
    settings=NeighbourConfig,
    observe=observe,
    uses=("rate", "reach"),
)
