"""The settings, each once: pydantic, frozen, without torch; what the other packages take."""

from dynaloss.config.data import (
    DataConfig,
    NoiseConfig,
    SourceSettings,
    ValidationConfig,
    ViewsConfig,
)
from dynaloss.config.trial import TrialConfig

__all__ = [
    "DataConfig",
    "NoiseConfig",
    "SourceSettings",
    "TrialConfig",
    "ValidationConfig",
    "ViewsConfig",
]
