"""Classifiers by name."""

from dynaloss.learning.models.fitting import check_model
from dynaloss.learning.models.registry import MODELS, build_model

__all__ = ["MODELS", "build_model", "check_model"]
