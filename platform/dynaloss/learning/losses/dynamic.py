"""The Dynamic Loss: a label corrector and a margin generator with meta-learned parameters.

Symbols: N batch size, C number of classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, assert_never

from pydantic import Field

from dynaloss.config.families import LOSSES, LossKind
from dynaloss.config.settings import Settings
from dynaloss.config.trial import LossConfig, ScheduleConfig
from dynaloss.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor

    from dynaloss.learning.losses._dynamic_modules import DynamicLoss
    from dynaloss.learning.losses._interfaces import TrainingFacts

PseudoLabelKind = Literal["sampled", "soft", "hard"]


class CorrectorConfig(Settings):
    """The label corrector: how far to trust an observed label, by its loss rank."""

    enabled: bool = Field(default=True, description="Whether labels are corrected.")
    ranks: int = Field(
        default=100, ge=2, description="Number of loss-rank bins per class, at least 2."
    )
    per_class: bool = Field(
        default=True, description="One trust curve for each class, or one for all of them."
    )
    warm_start: bool = Field(
        default=True, description="Whether the corrector is fitted during warm-up already."
    )
    warm_start_epochs: int | None = Field(
        default=None,
        ge=1,
        description="First epochs of warm-up in which it is, at least 1; null takes all of "
        "schedule.warmup_epochs.",
    )
    pseudo_labels: PseudoLabelKind = Field(
        default="sampled",
        description="What a corrected label takes from the classifier. sampled: a class drawn "
        "from its softmax. soft: the softmax. hard: the most likely class.",
    )

    def warm_start_length(self, warmup_epochs: int) -> int:
        """First epochs of warm-up in which the corrector is fitted."""
        if not self.warm_start:
            return 0
        return min(self.warm_start_epochs or warmup_epochs, warmup_epochs)


class MarginConfig(Settings):
    """The margin generator: a learned offset of each class's logit."""

    enabled: bool = Field(default=True, description="Whether margins are added.")
    in_finetune: bool = Field(
        default=True, description="Whether they are added in the pass over the metadata, too."
    )


class DynamicLossConfig(LossConfig):
    """Settings of the Dynamic Loss; without both of its parts it is cross-entropy."""

    name: Literal["dynamic"] = Field(default="dynamic", description="Name of the loss.")
    corrector: CorrectorConfig = CorrectorConfig()
    margin: MarginConfig = MarginConfig()
    finetune: bool = Field(
        default=True, description="Whether an epoch ends with one pass over its metadata."
    )

    @property
    def is_learned(self) -> bool:
        """Whether it has a part."""
        return self.corrector.enabled or self.margin.enabled

    @property
    def accepts_soft_targets(self) -> bool:
        """Whether it has no part, and so is cross-entropy."""
        return not self.is_learned

    @property
    def num_ranks(self) -> int:
        """See `LossConfig`."""
        return self.corrector.ranks

    @property
    def finetunes(self) -> bool:
        """See `LossConfig`."""
        return self.finetune

    def warm_start_length(self, warmup_epochs: int) -> int:
        """See `CorrectorConfig.warm_start_length`."""
        return self.corrector.warm_start_length(warmup_epochs)

    def effective(self, schedule: ScheduleConfig) -> dict[str, Any]:
        """See `LossConfig`; of a part that is off only this counts."""
        values = self.model_dump()
        length = self.warm_start_length(schedule.warmup_epochs)
        values["corrector"]["warm_start_epochs"] = length
        if not length:
            values["corrector"]["warm_start"] = False
            del values["corrector"]["warm_start_epochs"]
        for name, part in (("corrector", self.corrector), ("margin", self.margin)):
            if not part.enabled:
                values[name] = {"enabled": False}
        if self.margin.enabled and not self.finetune:
            del values["margin"]["in_finetune"]
        if not self.is_learned:
            del values["finetune"]
        return values


def _build(settings: DynamicLossConfig, facts: TrainingFacts) -> DynamicLoss:
    from dynaloss.learning.losses._dynamic_modules import DynamicLoss

    return DynamicLoss(settings, facts)


def corrected_targets(weights: Tensor, labels: Tensor, pseudo_labels: Tensor) -> Tensor:
    """Returns w * onehot(observed) + (1 - w) * pseudo-label, shape (N, C); rows sum to 1.

    Args:
        weights: Trust in the observed label, in (0, 1), shape (N,).
        labels: Observed labels, int64, shape (N,).
        pseudo_labels: Distributions over classes, shape (N, C).
    """
    observed = F.one_hot(labels, pseudo_labels.shape[1]).to(pseudo_labels.dtype)
    return torch.lerp(pseudo_labels, observed, weights.unsqueeze(1))


def warm_start_loss(weights: Tensor, observed_probs: Tensor) -> Tensor:
    """Mean of -log(w + (1 - w) p_observed), what the corrector is fitted by in warm-up.

    Args:
        weights: Trust in the observed label, in (0, 1), shape (N,).
        observed_probs: The classifier's probability of the observed label, shape (N,).
    """
    return -torch.log(weights + (1 - weights) * observed_probs + 1e-8).mean()


def sample_pseudo_labels(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draws a hard pseudo-label from the softmax of each row; one-hot (N, C), no gradient.

    The forward value of the hard Gumbel softmax with temperature 1: the arg max of the logits
    plus Gumbel noise is distributed as the softmax, and p / E with E exponential has the same
    arg max.
    """
    probs = F.softmax(logits.detach(), dim=1)
    noise = torch.empty_like(probs).exponential_(generator=generator)
    return F.one_hot((probs / noise).argmax(dim=1), logits.shape[1]).to(probs.dtype)


def make_pseudo_labels(
    logits: Tensor, kind: PseudoLabelKind, generator: torch.Generator
) -> Tensor:
    """Pseudo-labels of a batch, distributions over classes (N, C) without gradient.

    Args:
        logits: Shape (N, C).
        kind: `sampled`: see `sample_pseudo_labels`; `soft`: the softmax itself; `hard`: all on
            the most likely class. The last two draw nothing.
        generator: Random stream of `sampled`.
    """
    probs = F.softmax(logits.detach(), dim=1)
    match kind:
        case "sampled":
            return sample_pseudo_labels(logits, generator)
        case "soft":
            return probs
        case "hard":
            return F.one_hot(probs.argmax(dim=1), logits.shape[1]).to(probs.dtype)
    assert_never(kind)


LOSSES.add(
    LossKind(
        name="dynamic",
        description="the loss with parameters of its own, meta-learned beside the classifier",
        source="Jiang, Li, Zhang, Wang, Xu, Dynamic Loss For Robust Learning, IEEE TPAMI 45(12), "
        "2023, arXiv 2211.12506 v2",
        settings=DynamicLossConfig,
        build=_build,
    )
)
