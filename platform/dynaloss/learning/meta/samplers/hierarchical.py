"""Hierarchical sampling, the paper's: at random per class, then the lowest losses."""

from __future__ import annotations

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import SamplerConfig
from dynaloss.lazy import Tensor
from dynaloss.learning.meta.samplers._candidates import (
    Candidates,
    balanced_sample,
    low_loss_sample,
)


def hierarchical_sample(settings: SamplerConfig, candidates: Candidates) -> Tensor:
    """Draws per observed class some samples at random, and keeps those of the lowest loss.

    Source: arXiv 2211.12506, hierarchical sampling. With m the size of the smallest observed
    class, floor(random_ratio * m) samples per class are drawn at random (diversity), of which
    floor(random_ratio * m * low_loss_ratio) with the lowest loss are kept (cleanness).
    """
    losses, labels = candidates.losses, candidates.labels
    num_drawn, num_kept = candidates.sizes(settings)
    drawn = balanced_sample(labels, num_drawn, candidates.generator)
    return drawn[low_loss_sample(losses[drawn], labels[drawn], num_kept)]


SAMPLERS.add(
    name="hierarchical",
    description="a random draw per observed class, of which those with the lowest losses are kept",
    source="Jiang et al., arXiv 2211.12506",
    settings=SamplerConfig,
    draw=hierarchical_sample,
)
