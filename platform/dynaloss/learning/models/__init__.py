"""Classifiers by name."""

from dynaloss.learning.models.registry import MODELS, build_model

__all__ = ["MODELS", "build_model"]
