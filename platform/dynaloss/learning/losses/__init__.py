"""Losses by name, beside the dynamic loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dynaloss.learning.losses.class_balanced import ClassBalancedLoss
from dynaloss.learning.losses.cross_entropy import CrossEntropy
from dynaloss.learning.losses.elr import EarlyLearningRegularisation
from dynaloss.learning.losses.focal import FocalLoss
from dynaloss.learning.losses.gce import GeneralisedCrossEntropy
from dynaloss.learning.losses.interfaces import LearnedLoss, TrainingFacts, TrainingLoss
from dynaloss.learning.losses.ldam import LabelDistributionAwareMargin
from dynaloss.learning.losses.logit_adjustment import BalancedSoftmax, LogitAdjustment
from dynaloss.learning.losses.meta_weight_net import MetaWeightNet
from dynaloss.learning.losses.sce import SymmetricCrossEntropy

__all__ = ["TRAINING_LOSSES", "LearnedLoss", "MetaWeightNet", "TrainingFacts", "TrainingLoss"]

TRAINING_LOSSES: Mapping[str, Callable[..., TrainingLoss]] = {
    "cross_entropy": CrossEntropy,
    "focal": FocalLoss,
    "gce": GeneralisedCrossEntropy,
    "sce": SymmetricCrossEntropy,
    "elr": EarlyLearningRegularisation,
    "ldam": LabelDistributionAwareMargin,
    "balanced_softmax": BalancedSoftmax,
    "logit_adjustment": LogitAdjustment,
    "class_balanced": ClassBalancedLoss,
}
"""Every loss that is not learned; a constructor takes `TrainingFacts` and its settings."""
