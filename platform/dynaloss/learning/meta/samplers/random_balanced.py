"""As many samples of every class as hierarchical sampling keeps, at random."""

from __future__ import annotations

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import SamplerConfig
from dynaloss.lazy import Tensor
from dynaloss.learning.meta.samplers._candidates import Candidates, balanced_sample


def _draw(settings: SamplerConfig, candidates: Candidates) -> Tensor:
    _, num_kept = candidates.sizes(settings)
    return balanced_sample(candidates.labels, num_kept, candidates.generator)


SAMPLERS.add(
    name="random_balanced",
    description="the same number per observed class, at random: balanced, not selected for "
    "cleanness",
    settings=SamplerConfig,
    draw=_draw,
)
