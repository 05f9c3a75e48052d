"""A metadata sampler with a setting of its own."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from dynaloss.config import SamplerConfig
from dynaloss.config.families import SamplerKind
from dynaloss.config.settings import Real
from dynaloss.learning.meta.samplers import Candidates


class MiddleLossConfig(SamplerConfig):
    """Settings of the sampler; `kind` is filled in."""

    share: Real = Field(
        default=0.25, gt=0, le=1, description="Share of the smallest class, in (0, 1]."
    )


def draw(settings: MiddleLossConfig, candidates: Candidates) -> Tensor:
    """The samples of each observed class around its median loss, as many of each class."""
    losses, labels = candidates.losses, candidates.labels
    classes, counts = labels.unique(return_counts=True)
    number = max(1, int(settings.share * int(counts.min())))
    chosen = []
    for label in classes:
        positions = torch.nonzero(labels == label).squeeze(1)
        ordered = positions[losses[positions].argsort()]
        first = (len(ordered) - number) // 2
        chosen.append(ordered[first : first + number])
    return torch.cat(chosen).sort().values


MIDDLE_LOSS = SamplerKind(
    name="middle_loss",
    description="per class the samples around the median loss",
    settings=MiddleLossConfig,
    draw=draw,
    uses=("share", "every", "keep_in_train"),
)
