"""What to run: study files, arms and designs, cells, plans and trial identity."""

from dynaloss.config.trial import ResourcesConfig
from dynaloss.studies.arms import arm_name, design_arms
from dynaloss.studies.components import COMPONENTS
from dynaloss.studies.identity import effective_config, flatten, trial_key
from dynaloss.studies.loading import load_any, load_search, load_study
from dynaloss.studies.overrides import override, setting_keys
from dynaloss.studies.plan import condition_label, make_plan, plan_as_json
from dynaloss.studies.reading.bundled import bundled_studies, find_study
from dynaloss.studies.study import AblationStudy, SearchStudy

__all__ = [
    "COMPONENTS",
    "AblationStudy",
    "ResourcesConfig",
    "SearchStudy",
    "arm_name",
    "bundled_studies",
    "condition_label",
    "design_arms",
    "effective_config",
    "find_study",
    "flatten",
    "load_any",
    "load_search",
    "load_study",
    "make_plan",
    "override",
    "plan_as_json",
    "setting_keys",
    "trial_key",
]
