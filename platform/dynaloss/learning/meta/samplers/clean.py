"""A clean set that a file names."""

from __future__ import annotations

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import SamplerConfig
from dynaloss.lazy import Tensor
from dynaloss.learning.meta.samplers._candidates import Candidates


def _draw(settings: SamplerConfig, candidates: Candidates) -> Tensor:
    if candidates.clean_set is None:
        raise ValueError("`clean_set` must be given for the kind `clean`.")
    return candidates.clean_set


SAMPLERS.add(
    name="clean",
    description="the images of sampler.path, with true labels that count as clean labels used",
    settings=SamplerConfig,
    draw=_draw,
    uses=("keep_in_train", "path"),
    has_true_labels=True,
)
