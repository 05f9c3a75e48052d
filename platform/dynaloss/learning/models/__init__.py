"""Classifiers by name."""

from dynaloss.learning.models.building import MODELS, build_model
from dynaloss.learning.models.fitting import check_model

__all__ = ["MODELS", "build_model", "check_model"]
