"""The settings, each once: pydantic, frozen, without torch; what the other packages take."""

from dynaloss.config.data import (
    DataConfig,
    NoiseConfig,
    SourceSettings,
    ValidationConfig,
    ViewsConfig,
)
from dynaloss.config.trial import (
    LossConfig,
    MetaConfig,
    ModelConfig,
    OptimizerConfig,
    SamplerConfig,
    ScheduleConfig,
    TrialConfig,
)

__all__ = [
    "DataConfig",
    "LossConfig",
    "MetaConfig",
    "ModelConfig",
    "NoiseConfig",
    "OptimizerConfig",
    "SamplerConfig",
    "ScheduleConfig",
    "SourceSettings",
    "TrialConfig",
    "ValidationConfig",
    "ViewsConfig",
]
