"""Hierarchical sampling, drawn once."""

from __future__ import annotations

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import SamplerConfig
from dynaloss.learning.meta.samplers.hierarchical import hierarchical_sample

SAMPLERS.add(
    name="fixed",
    description="as hierarchical, but drawn once, in the first epoch after warm-up",
    settings=SamplerConfig,
    draw=hierarchical_sample,
    uses=("random_ratio", "low_loss_ratio", "keep_in_train"),
)
