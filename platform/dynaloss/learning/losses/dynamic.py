"""The Dynamic Loss: a label corrector and a margin generator with meta-learned parameters.

Symbols: N batch size, C number of classes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Settings
from dynaloss.config.trial import LossConfig, ScheduleConfig
from dynaloss.lazy import Late

PseudoLabelKind = Literal["sampled", "soft", "hard"]


class CorrectorConfig(Settings):
    """The label corrector: how far to trust an observed label, by its loss rank."""

    enabled: bool = Field(
        default=True, description="Whether labels are corrected by the rank of their loss."
    )
    ranks: int = Field(
        default=100,
        ge=2,
        le=10_000,
        description="Number of loss-rank bins per class, 2 to 10,000; few for small data.",
    )
    per_class: bool = Field(
        default=True, description="One trust curve for each class, or one for all of them."
    )
    hidden_layers: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Hidden layers of the network that makes the curves, 1 to 100; 1 suits "
        "short trials.",
    )
    warm_start: bool = Field(
        default=True, description="Whether the corrector is fitted during warm-up already."
    )
    warm_start_epochs: int | None = Field(
        default=None,
        ge=1,
        description="First epochs of warm-up in which the corrector is fitted, at least 1; null "
        "means all of schedule.warmup_epochs.",
    )
    warm_start_statistics: bool = Field(
        default=True,
        description="Whether the weak views that the corrector is fitted on in warm-up count in "
        "the running statistics of batch norm, as in the authors' code, beside the strong ones.",
    )
    ranking: Literal["loss", "random"] = Field(
        default="loss",
        description="What ranks the samples of a class. loss: their loss. random: chance, drawn "
        "anew each epoch, as in the authors' code for data without label noise.",
    )
    pseudo_labels: PseudoLabelKind = Field(
        default="sampled",
        description="What a corrected label adds from the classifier. sampled: a class drawn "
        "from its softmax. soft: the softmax. hard: the most likely class.",
    )


class MarginConfig(Settings):
    """The margin generator: a learned offset of each class's logit."""

    enabled: bool = Field(
        default=True, description="Whether a learned margin is added to each class's logit."
    )
    hidden_layers: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Hidden layers of the network that makes the margins, 1 to 100.",
    )
    in_finetune: bool = Field(
        default=True, description="Whether margins are added in the pass over the metadata, too."
    )


class DynamicLossConfig(LossConfig):
    """Settings of the Dynamic Loss; without both of its parts it is cross-entropy.

    Then the pass over the metadata remains, unless `finetune` is off, too.
    """

    name: Literal["dynamic"] = Field(default="dynamic", description="Name of the loss.")
    corrector: CorrectorConfig = CorrectorConfig()
    margin: MarginConfig = MarginConfig()
    finetune: bool = Field(
        default=True, description="Whether an epoch ends with one pass over its metadata."
    )
    look_ahead_view: Literal["weak", "strong"] = Field(
        default="weak",
        description="View of the look-ahead step and of the corrector's fit in warm-up, by "
        "which labels are corrected.",
    )

    accepts_soft_targets: ClassVar[bool] = True

    @property
    def is_learned(self) -> bool:
        """Whether it has a part."""
        return self.corrector.enabled or self.margin.enabled

    @property
    def num_ranks(self) -> int:
        """See `LossConfig`."""
        return self.corrector.ranks

    @property
    def has_random_ranks(self) -> bool:
        """See `LossConfig`."""
        return self.corrector.ranking == "random"

    @property
    def finetunes(self) -> bool:
        """See `LossConfig`."""
        return self.finetune

    def warm_start_length(self, warmup_epochs: int) -> int:
        """See `LossConfig`."""
        length = self.corrector.warm_start_epochs or warmup_epochs
        has_warm_start = self.corrector.enabled and self.corrector.warm_start
        return min(length, warmup_epochs) if has_warm_start else 0

    def effective(self, schedule: ScheduleConfig) -> dict[str, Any]:
        """See `LossConfig`; a part that is off counts by `enabled` only."""
        values = self.model_dump()
        length = self.warm_start_length(schedule.warmup_epochs)
        values["corrector"]["warm_start_epochs"] = length
        if not length:
            values["corrector"]["warm_start"] = False
            del values["corrector"]["warm_start_epochs"]
            del values["corrector"]["warm_start_statistics"]
        for name, part in (("corrector", self.corrector), ("margin", self.margin)):
            if not part.enabled:
                values[name] = {"enabled": False}
        if self.margin.enabled and not self.finetune:
            del values["margin"]["in_finetune"]
        if not self.is_learned:
            del values["look_ahead_view"]
        return values


LOSSES.add(
    name="dynamic",
    description="the loss with parameters of its own, meta-learned beside the classifier",
    source="Jiang, Li, Zhang, Wang, Xu, Dynamic Loss For Robust Learning, IEEE TPAMI 45(12), "
    "2023, arXiv 2211.12506 v2",
    settings=DynamicLossConfig,
    build=Late("dynaloss.learning.losses._dynamic_loss", "build_dynamic_loss"),
)
