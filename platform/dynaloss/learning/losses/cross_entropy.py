"""Cross-entropy, with label smoothing."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Real
from dynaloss.config.trial import LossConfig
from dynaloss.lazy import F, Tensor
from dynaloss.learning.losses._interfaces import TrainingLoss


class CrossEntropyConfig(LossConfig):
    """Settings of the cross-entropy."""

    name: Literal["cross_entropy"] = Field(
        default="cross_entropy", description="Name of the loss."
    )
    label_smoothing: Real = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each target spread over all classes, in [0, 1).",
    )

    accepts_soft_targets: ClassVar[bool] = True


class CrossEntropy(TrainingLoss[CrossEntropyConfig]):
    """Cross-entropy on the observed labels, with q'(k) = (1 - s) onehot(k) + s / C as target.

    Smoothing s: Szegedy et al., CVPR 2016, section 7.
    """

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """See `TrainingLoss`."""
        return F.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)


LOSSES.add(
    name="cross_entropy",
    description="cross-entropy on the observed labels, with label smoothing",
    source="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception Architecture "
    "for Computer Vision, CVPR 2016",
    settings=CrossEntropyConfig,
    build=CrossEntropy,
)
