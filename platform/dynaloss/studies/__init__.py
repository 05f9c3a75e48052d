"""What to run: typed settings, study files, ablation designs, plans and trial identity."""

from dynaloss.config.ablation import AblationConfig, ReportConfig
from dynaloss.config.data import (
    DataConfig,
    NoiseConfig,
    ValidationConfig,
    ViewsConfig,
)
from dynaloss.config.families import LOSSES, MODELS, SOURCES
from dynaloss.config.trial import (
    LossConfig,
    MetaConfig,
    ModelConfig,
    OptimizerConfig,
    SamplerConfig,
    ScheduleConfig,
    TrialConfig,
)
from dynaloss.studies.arms import COMPONENTS, arm_name, design_arms
from dynaloss.studies.identity import RESULTS_VERSION, effective_config, flatten, trial_key
from dynaloss.studies.overrides import Overrides, override, setting_keys
from dynaloss.studies.plan import (
    Condition,
    DataDigests,
    Plan,
    Trial,
    condition_label,
    make_plan,
    plan_as_json,
)
from dynaloss.studies.reading.bundled import bundled_studies, find_study
from dynaloss.studies.reading.document import Document, read_document
from dynaloss.studies.study import AblationStudy, ResourcesConfig, load_study
from dynaloss.studies.trial_record import Outcome, TrialRecord

__all__ = [
    "COMPONENTS",
    "LOSSES",
    "MODELS",
    "RESULTS_VERSION",
    "SOURCES",
    "AblationConfig",
    "AblationStudy",
    "Condition",
    "DataConfig",
    "DataDigests",
    "Document",
    "LossConfig",
    "MetaConfig",
    "ModelConfig",
    "NoiseConfig",
    "OptimizerConfig",
    "Outcome",
    "Overrides",
    "Plan",
    "ReportConfig",
    "ResourcesConfig",
    "SamplerConfig",
    "ScheduleConfig",
    "Trial",
    "TrialConfig",
    "TrialRecord",
    "ValidationConfig",
    "ViewsConfig",
    "arm_name",
    "bundled_studies",
    "condition_label",
    "design_arms",
    "effective_config",
    "find_study",
    "flatten",
    "load_study",
    "make_plan",
    "override",
    "plan_as_json",
    "read_document",
    "setting_keys",
    "trial_key",
]
