"""The losses, one module each, with settings, computation and entry in the registry."""

from dynaloss.learning.losses._interfaces import TrainingFacts, TrainingLoss

__all__ = ["TrainingFacts", "TrainingLoss"]
