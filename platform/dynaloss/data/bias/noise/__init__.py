"""Label noise, a file a kind, and what splits need of it; the home of `NOISES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Ints
from dynaloss.data.sources.source import Source

if TYPE_CHECKING:
    from dynaloss.learning.streams import Streams

__all__ = ["observed_labels"]


def observed_labels(noise: NoiseConfig, source: Source, rows: Ints, streams: Streams) -> Ints:
    """Observed labels, int64, of the N samples at `rows` of the pool, shape (N,)."""
    if noise.is_off:
        return source.pool.labels[rows]
    return NOISES[noise.kind].observe(noise, source, rows, streams.numpy("noise"))
