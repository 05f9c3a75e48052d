"""No noise: every label stays as it is, whatever the rate."""

from __future__ import annotations

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES

NOISES.add(
    name="none",
    description="labels stay as they are, whatever the rate",
    settings=NoiseConfig,
    observe=lambda _, source, rows, __: source.pool.labels[rows],
    uses=(),
)
