"""As many samples as hierarchical sampling keeps, at random whatever their class."""

from __future__ import annotations

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import SamplerConfig
from dynaloss.lazy import Tensor, torch
from dynaloss.learning.meta.samplers._candidates import Candidates


def _draw(settings: SamplerConfig, candidates: Candidates) -> Tensor:
    labels, generator = candidates.labels, candidates.generator
    _, num_kept = candidates.sizes(settings)
    num_classes = int((torch.bincount(labels) > 0).sum())
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    return order[: num_kept * num_classes].sort().values


SAMPLERS.add(
    name="random",
    description="the same number in all, at random: neither balanced nor selected for cleanness",
    settings=SamplerConfig,
    draw=_draw,
)
