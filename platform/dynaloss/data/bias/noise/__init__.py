"""Label noise, a file a kind, and what splits need of it; the home of `NOISES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Ints
from dynaloss.data.sources.source import Source

if TYPE_CHECKING:
    from dynaloss.learning.streams import Streams

__all__ = ["check_noise", "observed_labels"]


def check_noise(noise: NoiseConfig, source: Source) -> None:
    """Refuses noise that cannot be put on `source`, whatever the seed.

    Raises:
        InputError: If the label file or the class map does not fit, or images are not in memory.
    """
    check = NOISES[noise.kind].check
    if check is not None:
        check(noise, source)


def observed_labels(noise: NoiseConfig, source: Source, rows: Ints, streams: Streams) -> Ints:
    """Observed labels, int64, of the N samples at `rows` of the pool, shape (N,)."""
    if noise.is_off:
        return source.pool.labels[rows]
    return NOISES[noise.kind].observe(noise, source, rows, streams.numpy("noise"))
