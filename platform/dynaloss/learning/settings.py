"""The settings of a trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynaloss.learning.classifier import Precision
from dynaloss.learning.meta.sampler import SamplerSettings

__all__ = ["TrainerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """Settings of the two optimisers, the schedule and the sampler.

    Attributes:
        epochs: Number of epochs, warm-up included.
        warmup_epochs: First epochs, trained by cross-entropy on the full set.
        ramp_epochs: First epochs, over which the learning rate rises to `lr`.
        batch_size: Samples of a training batch, at most.
        lr: Highest learning rate of the classifier's SGD.
        momentum: Momentum of SGD, in [0, 1).
        weight_decay: Weight decay of SGD, at least 0.
        meta_lr: Learning rate of Adam on the loss parameters.
        meta_every: The loss is updated every so many batches, at least 1.
        meta_batch_size: Samples of a metadata batch, at most.
        num_ranks: Rank bins per class, at least 2.
        hypergradient: `forward` or `unrolled`, both exact, or `head`: the look-ahead step moves
            the last linear layer alone.
        warm_start_epochs: First epochs of warm-up in which the corrector is fitted as well.
        finetune: Whether an epoch ends with a pass over the metadata.
        mixup: Both parameters of the Beta distribution of `Mixup`; 0 mixes nothing. For a loss
            that accepts soft targets alone.
        precision: `bfloat16` runs the classifier's passes under autocast; losses, hypergradients
            and both optimisers stay float32.
        is_deterministic: Whether torch is held to deterministic algorithms.
        is_compiled: Whether the classifier's training passes are compiled.
        sampler: How the metadata are drawn.
    """

    epochs: int
    warmup_epochs: int
    ramp_epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    meta_lr: float
    meta_every: int
    meta_batch_size: int
    num_ranks: int
    hypergradient: Literal["forward", "unrolled", "head"]
    warm_start_epochs: int
    finetune: bool
    mixup: float
    precision: Precision
    is_deterministic: bool
    is_compiled: bool
    sampler: SamplerSettings
