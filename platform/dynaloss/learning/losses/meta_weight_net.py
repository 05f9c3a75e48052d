"""Meta-Weight-Net: a learned weight per sample as a function of its loss."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import Late


class MetaWeightNetConfig(LossConfig):
    """Settings of the Meta-Weight-Net."""

    name: Literal["meta_weight_net"] = Field(
        default="meta_weight_net", description="Name of the loss."
    )
    hidden_size: int = Field(
        default=100, ge=1, description="Units of its hidden layer, at least 1."
    )

    is_learned: ClassVar[bool] = True
    accepts_head_gradient: ClassVar[bool] = False


LOSSES.add(
    name="meta_weight_net",
    description="a learned weight per sample as a function of its loss",
    source="Shu, Xie, Yi, Zhao, Zhou, Xu, Meng, Meta-Weight-Net: Learning an Explicit Mapping "
    "For Sample Weighting, NeurIPS 2019",
    settings=MetaWeightNetConfig,
    build=Late("dynaloss.learning.losses._weight_net", "build_meta_weight_net"),
)
