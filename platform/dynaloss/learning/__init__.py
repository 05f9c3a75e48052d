"""What one trial computes: the loss, its hypergradient, the sampler, models and the trainer.

Its public names serve a training loop of one's own, each imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynaloss.lazy import late_names

if TYPE_CHECKING:
    from dynaloss.learning.batches import endless
    from dynaloss.learning.diagnostics import sample_losses
    from dynaloss.learning.losses._dynamic_loss import DynamicLoss
    from dynaloss.learning.losses._learned import LearnedLoss
    from dynaloss.learning.losses._weight_net import MetaWeightNet
    from dynaloss.learning.meta.hypergradient import (
        Hypergradient,
        LookAheadProblem,
        hypergradient,
    )
    from dynaloss.learning.meta.look_ahead import AdamWLookAhead, LookAhead
    from dynaloss.learning.meta.metadata import MetadataSampler
    from dynaloss.learning.meta.ranks import rank_bins
    from dynaloss.learning.meta_step import MetaStep
    from dynaloss.learning.models.saved import TrainedModel, load_model

__all__ = [
    "AdamWLookAhead",
    "DynamicLoss",
    "Hypergradient",
    "LearnedLoss",
    "LookAhead",
    "LookAheadProblem",
    "MetaStep",
    "MetaWeightNet",
    "MetadataSampler",
    "TrainedModel",
    "endless",
    "hypergradient",
    "load_model",
    "rank_bins",
    "sample_losses",
]

__getattr__ = late_names(
    __name__,
    {
        "AdamWLookAhead": "dynaloss.learning.meta.look_ahead",
        "DynamicLoss": "dynaloss.learning.losses._dynamic_loss",
        "Hypergradient": "dynaloss.learning.meta.hypergradient",
        "LearnedLoss": "dynaloss.learning.losses._learned",
        "LookAhead": "dynaloss.learning.meta.look_ahead",
        "LookAheadProblem": "dynaloss.learning.meta.hypergradient",
        "MetaStep": "dynaloss.learning.meta_step",
        "TrainedModel": "dynaloss.learning.models.saved",
        "load_model": "dynaloss.learning.models.saved",
        "MetaWeightNet": "dynaloss.learning.losses._weight_net",
        "MetadataSampler": "dynaloss.learning.meta.metadata",
        "endless": "dynaloss.learning.batches",
        "hypergradient": "dynaloss.learning.meta.hypergradient",
        "rank_bins": "dynaloss.learning.meta.ranks",
        "sample_losses": "dynaloss.learning.diagnostics",
    },
)
