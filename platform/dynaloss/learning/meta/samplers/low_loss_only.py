"""As many samples of every class as hierarchical sampling keeps, those of the lowest loss."""

from __future__ import annotations

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import SamplerConfig
from dynaloss.lazy import Tensor
from dynaloss.learning.meta.samplers._candidates import Candidates, low_loss_sample


def _draw(settings: SamplerConfig, candidates: Candidates) -> Tensor:
    _, num_kept = candidates.sizes(settings)
    return low_loss_sample(candidates.losses, candidates.labels, num_kept)


SAMPLERS.add(
    name="low_loss_only",
    description="the same number per observed class, those with the lowest losses: no diversity",
    settings=SamplerConfig,
    draw=_draw,
)
